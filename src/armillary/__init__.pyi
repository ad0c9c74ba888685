# What type checkers read in place of the lazy __init__.py.

from armillary.api.acting import act as act
from armillary.api.acting import evaluate as evaluate
from armillary.api.acting import plan as plan
from armillary.api.asking import probe as probe
from armillary.api.asking import read_out as read_out
from armillary.api.asking import rollout as rollout
from armillary.api.asking import surprise as surprise
from armillary.api.data import ingest as ingest
from armillary.api.data import open_dataset as open_dataset
from armillary.api.data import prepare as prepare
from armillary.api.data import record as record
from armillary.api.learning import load_model as load_model
from armillary.api.learning import push_to_hub as push_to_hub
from armillary.api.learning import train as train
from armillary.api.viewing import view as view
from armillary.planning.planning import Planning as Planning

__version__: str
__all__: list[str]
