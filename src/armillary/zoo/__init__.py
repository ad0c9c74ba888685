"""Zoo: trained models that travel with the package, each named by the digests of its files.

    index.json            for each model: world, recipe, data, licence, numbers, digest of each file
    NAME/model            a model folder; weights are stored as float16
    NAME/recording        a short recording to drive in, where no simulator belongs to the model

``zoo:NAME`` stands for the model wherever a model is asked for. A file that does not match its
digest is refused. ``scripts/make_zoo.py`` writes the folder.
"""

from armillary.zoo.index import PREFIX, ZooModel, zoo_folder, zoo_model, zoo_names

__all__ = ["PREFIX", "ZooModel", "zoo_folder", "zoo_model", "zoo_names"]
