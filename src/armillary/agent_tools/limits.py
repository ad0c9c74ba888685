"""Limits: how much may be asked in one call. They stand in the schemas, and are checked again."""

MOST_AHEAD = 32  # model steps of a prediction or a plan
MOST_ROWS = 256  # actions of one call
MOST_WIDTH = 256  # numbers of one action
MOST_SURPRISE = 1000  # model steps that are judged in one call
LEAST_SIDE_PX, MOST_SIDE_PX = 16, 512
