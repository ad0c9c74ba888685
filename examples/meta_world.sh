#!/bin/sh
# From nothing to a success rate in Meta-World: record, train, act. About 30 minutes on two cores.
#
#   pip install 'mujoco==3.3.0' metaworld
#   sh examples/meta_world.sh [TASK] [OUT]        e.g. push-v3 out/metaworld
#
# A goal is what the camera sees 25 steps later. docs/how-to/environments.md says why each setting.
set -eu
task=${1:-reach-v3} out=${2:-out/metaworld}
world=gym:metaworld:Meta-World/MT1
settings="env_settings={\"env_name\": \"$task\", \"seed\": 0, \"camera_name\": \"corner2\"}"
armillary record $world --setting "$settings" --setting quick_pictures=true \
  --episodes 300 --steps 100 --out "$out/recording"
armillary train world --data "$out/recording" --out "$out/run"
armillary act "$out/run" $world --setting "$settings" --setting quick_pictures=true --out "$out/act"
