"""The axis alphabet. A shape in armillary is spelled with these letters and no others.

B batch · T time · V cameras · H W image rows and columns · C channels · N tokens · P points ·
D latent width · A action width · Q proprioception width · S candidate plans · K elites ·
L planning length (never H).

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
