"""Agent tools: a world model as tools of a language model, over the Model Context Protocol.

``answers.py`` knows what is asked and answered. ``worker.py`` runs it in a process of its own, with
a time limit. ``server.py`` alone knows the protocol (extra ``mcp``).
"""
