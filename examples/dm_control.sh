#!/bin/sh
# From nothing to a success rate in dm_control: record, train, act. About 30 minutes on two cores.
#
#   pip install 'mujoco==3.3.0' 'dm_control==1.0.28' shimmy
#   sh examples/dm_control.sh [ENVIRONMENT] [OUT]        e.g. point_mass-easy-v0 out/dm
#
# A goal is what is seen 25 steps later, by all joints. docs/how-to/environments.md says more.
set -eu
world=gym:shimmy:dm_control/${1:-reacher-easy-v0} out=${2:-out/dm_control}
armillary record "$world" --setting quick_pictures=true --episodes 300 --steps 100 --out "$out/recording"
armillary train world --data "$out/recording" --out "$out/run"
armillary act "$out/run" "$world" --setting quick_pictures=true --out "$out/act"
