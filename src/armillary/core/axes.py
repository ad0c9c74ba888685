"""The axis alphabet: letters that mean the same in every shape of armillary.

What a file needs beside them (F frames or features, Z width of a flattened latent, ...) it names
under ``Axes:`` at its top.

B batch · T time · V cameras · H W image rows and columns · C channels · N tokens, LiDAR beams ·
P points · D latent width · A action width · Q proprioception width · S candidate plans ·
K elites · L planning length (never H).

Time: action ``a_t`` leads from step t to step t+1, so T steps have T-1 actions.
"""

ALPHABET = {
    "B": "batch",
    "T": "time",
    "V": "cameras",
    "H": "image rows",
    "W": "image columns",
    "C": "channels",
    "N": "tokens",
    "P": "points",
    "D": "latent width",
    "A": "action width",
    "Q": "proprioception width",
    "S": "candidate plans",
    "K": "elites",
    "L": "planning length",
}
