"""Export: a model as ONNX files that run without torch.

Nothing is imported here, so that ``armillary.export.runner`` needs only numpy and onnxruntime.
``exporter.py`` writes a folder, ``graphs.py`` has its networks, ``runner.py`` reads and runs it.
"""
