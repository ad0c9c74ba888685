"""Verify: check a submission without trusting who made it, by named rules, level by level.

    0  static       hashes, signatures, order; everything in the card computed again
    1  replay       recorded actions in the world, without the model; the controls run again
    2  audit        single decisions made again with the agent, picked by the verifier's nonce
    3  rerun        a sample of episodes run again, closed loop
    4  challenge    episodes that did not exist when the agent was committed

Nothing is imported here, so that a numeric profile can be set before torch is loaded.
"""
