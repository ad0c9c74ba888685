"""Static: level 0. Who signed what, in which order, and whether the card follows from the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from armillary.core.errors import ArmillaryError, CheckFailedError, ConfigError
from armillary.core.hashing import canonical_json
from armillary.proof.attempts import attempts_of
from armillary.proof.canonical import digest, parse_json, read_bytes
from armillary.proof.code import code_digest
from armillary.proof.entry import check_follows, utc_now
from armillary.proof.envelope import open_envelope
from armillary.proof.episodes import IDENTITIES, check_counts, episodes_root, records_root
from armillary.proof.golden import check_golden
from armillary.proof.keys import load_public_key
from armillary.proof.trainings import training_problem
from armillary.proof.verify.case import Case
from armillary.proof.verify.rules import Check, Said, broken, first, holds, same, unknown
from armillary.proof.verify.sources import card_fields, ledger_part

_NO_CODE = "0" * 64
_CLOCKS_APART = timedelta(days=1)
_MOST_STEPS = 1_000_000  # per decision, where a suite sets no limit


def signature(case: Case) -> Said:
    """The card was signed with the key that keeps the ledger."""
    owner = case.sources.ledger.owner
    open_envelope(case.card.envelope, [owner], "scorecard")
    return holds(f"Signed by {owner.id[:16]}.")


def subject(case: Case) -> Said:
    """The statement is about the card's agent."""
    return same("Subject", dict(case.card.statement.subject), {"agent": case.sources.agent.digest})


def entered(case: Case) -> Said:
    """The card's hash was entered into the ledger."""
    if any(one.body["card"] == case.card.digest for one in case.sources.claimed.run.scores):
        return holds("The ledger names this card.")
    return broken("The ledger names another card of this run, or none.")


def key(case: Case) -> Said:
    """The key beside the card, and the one that was asked for, are the ledger's."""
    owner, path = case.sources.ledger.owner, case.sources.where.key
    wanted = [("asked for", case.how.key)] if case.how.key else []
    if path.exists():
        wanted.append(("beside the card", load_public_key(path)))
    wrong = [f"The key {name} is {one.id[:16]}." for name, one in wanted if one != owner]
    return first(wrong, f"The ledger is kept by {owner.id[:16]}.")


def chain(case: Case) -> Said:
    """Every entry follows the one before it."""
    entries = case.sources.ledger.entries
    for place, entry in enumerate(entries):
        check_follows(entry, entries[place - 1] if place else None, f"entry {place}")
    return holds(f"{len(entries)} entries follow one another.")


def signatures(case: Case) -> Said:
    """Every entry was signed by the ledger's owner."""
    ledger = case.sources.ledger
    wrong = (e for e in ledger.entries if not e.signed_by(ledger.owner))
    return first(
        (f"Entry {e.seq} ({e.type}) is not signed by the ledger's key." for e in wrong),
        f"{ledger.size} entries are signed by the ledger's key.",
    )


def order(case: Case) -> Said:
    """What must come before something else does."""
    problems = case.sources.ledger.history.problems
    return first((f"{p.rule}, entry {p.seq}: {p.sentence}" for p in problems), "The order holds.")


def clock(case: Case) -> Said:
    """No entry is of a time that has not come yet."""
    latest = utc_now(ahead=_CLOCKS_APART)
    ahead = [entry for entry in case.sources.ledger.entries if entry.t > latest]
    if not ahead:
        return holds("No entry is of a time to come.")
    return unknown(
        f"Entry {ahead[0].seq} is of {ahead[0].t}, which has not come here; check the clock of "
        "this machine, and ask whose clock the ledger's owner had."
    )


def retracted(case: Case) -> Said:
    """Its owner has not taken the result back, nor what it rests on."""
    claimed, ledger = case.sources.claimed, case.sources.ledger
    trained = ledger.history.trainings.get(claimed.commit.body.get("train", ""), [])
    parts = (claimed.commit, claimed.reveal, claimed.run.start, claimed.end, *claimed.run.scores)
    parts = (*parts, *trained[:1], *trained[-1:])
    named = {entry.hash: entry.type for entry in parts}
    back = (e for e in ledger.entries if e.type == "retract" and e.body["entry"] in named)
    return first(
        (
            f"Entry {e.seq} takes back the {named[e.body['entry']]}: {e.body['reason'][:200]!r}."
            for e in back
        ),
        "Nothing of it was taken back.",
    )


def committed_suite(case: Case) -> Said:
    """The suite is the one that was committed to."""
    suite = case.sources.suite
    named = {"id": suite.id, "digest": suite.digest}
    return same("Committed suite", case.sources.claimed.commit.body["suite"], named)


def committed_agent(case: Case) -> Said:
    """The agent is the one that was committed."""
    agent, commit = case.sources.agent, case.sources.claimed.commit.body
    claimed = {"digest": commit["agent"], "parameters": commit["parameters"]}
    return same(
        "Committed agent", claimed, {"digest": agent.digest, "parameters": agent.parameters}
    )


def committed_training(case: Case) -> Said:
    """What the commit says of its training is what the ledger holds of it."""
    commit, agent = case.sources.claimed.commit.body, case.sources.agent
    if "train" not in commit:
        return holds("The commit names no training.")
    sentence = training_problem(case.sources.ledger, commit, agent.weights)
    if sentence:
        return broken(f"{sentence[0].upper()}{sentence[1:]}")
    return holds(f"The training {commit['train']!r} ended with the agent's weights.")


def agent_budget(case: Case) -> Said:
    """The planner keeps every task's budget, so that whoever checks need not search for ever."""
    most = 0
    for task in case.sources.suite.tasks:
        takes = case.sources.agent.for_task(task.name).model_steps
        may = _MOST_STEPS if task.planner_budget is None else task.planner_budget
        if takes > may:
            return broken(
                f"The planner takes {takes:,} model steps per decision in {task.name}; {may:,} may "
                "be."
            )
        most = max(most, takes)
    return holds(f"The planner takes {most:,} model steps per decision, within every budget.")


def known_suite(case: Case) -> Said:
    """The suite's rules are trusted here; which code decides is another question."""
    suite, trusted = replace(case.sources.suite, code=_NO_CODE), case.how.trusted
    if any(replace(one, code=_NO_CODE) == suite for one in trusted):
        return holds(f"The rules are those of {suite.id} as known here.")
    if any(one.id == suite.id for one in trusted):
        return broken(f"The rules are not those of {suite.id} as known here.")
    return unknown(
        f"Nobody here knows a suite called {suite.id}; read its rules, and give the file with "
        "--suite if you trust them."
    )


def suite_code(case: Case) -> Said:
    """The code that decides is the one that is installed here."""
    suite = case.sources.suite
    here = code_digest(sorted({task.world for task in suite.tasks}))
    if here == suite.code:
        return holds(f"The suite's code is installed here ({here[:16]}).")
    return unknown(
        f"The suite was run with other code ({suite.code[:16]}) than is installed here "
        f"({here[:16]}); install that version to decide."
    )


def golden(case: Case) -> Said:
    """This installation draws what the suite's golden vectors show."""
    suite = case.sources.suite
    check_golden(suite.golden, {t.name: (t.factory, t.task) for t in suite.tasks})
    return holds(f"{len(suite.golden)} golden vectors are drawn here as in the suite.")


def fresh(case: Case) -> Said:
    """The seeds' value was out of the claimant's hands."""
    if card_fields(case.sources)["seed"]()["label"] == "fresh":
        return holds("The nonce was signed by another key than the ledger's.")
    return broken(
        "The seeds are weak: their value could have been tried before the commit. Only a fresh "
        "challenge (level 4) answers that."
    )


def manifests(case: Case) -> Said:
    """The run was of the episodes that suite and reveal draw."""
    start, where = case.sources.claimed.run.start.body, case.sources.where.run
    drawn = case.sources.manifests
    if start["manifests"] != {name: one.sha256 for name, one in drawn.items()}:
        return broken("The run began with other episodes than suite and reveal draw.")
    told = {name: parse_json(read_bytes(where.manifest(name)), name) for name in drawn}
    # as text: what is left out, or 0 for false, is another file
    wrong = (n for n, m in drawn.items() if canonical_json(told[n]) != canonical_json(m.to_dict()))
    return first(
        (f"manifests/{name}.json is not what suite and reveal draw." for name in wrong),
        "The episodes are those that suite and reveal draw.",
    )


def actors(case: Case) -> Said:
    """The agent and all of the suite's controls were run."""
    return same(
        "Actors", case.sources.claimed.run.start.body["actors"], list(case.sources.suite.actors)
    )


def environment(case: Case) -> Said:
    """The environment is the one that the run began in."""
    return same("Environment", case.sources.claimed.run.start.body["env"], digest(case.sources.env))


def profile(case: Case) -> Said:
    """The run was under the suite's numeric profile."""
    wanted = case.sources.suite.profile
    claimed = [case.sources.claimed.run.start.body["profile"], case.sources.env.get("profile", "")]
    return same("Numeric profile", claimed, [wanted, wanted])


def root(case: Case) -> Said:
    """The records are those that the run ended with."""
    end, rows = case.sources.claimed.end.body, case.sources.rows
    count = sum(len(records) for row in rows.values() for records in row.values())
    found = {"root": episodes_root(rows), "episodes": count}
    return same("Records", {name: end[name] for name in found}, found)


def chunks(case: Case) -> Said:
    """The records are those that were entered while the run went on."""
    return first(_chunk_problems(case), "Every chunk is as it was entered.")


def _chunk_problems(case: Case) -> Iterator[str]:
    run = case.sources.claimed.run
    size = run.start.body["chunk"]
    entered = [
        (c.body["task"], c.body["actor"], c.body["index"], c.body["count"], c.body["root"])
        for c in run.chunks
    ]
    found = [
        (task, actor, index, len(block), records_root(block))
        for task, row in case.sources.rows.items()
        for actor, records in row.items()
        for index, block in enumerate(
            records[at : at + size] for at in range(0, len(records), size)
        )
    ]
    known = set(entered)
    for one in found:
        if one not in known:
            yield f"Chunk {one[2]} of {one[0]}/{one[1]} is not what was entered."
    if len(entered) != len(found):
        yield f"{len(entered)} chunks were entered; the records have {len(found)}."


def hashes(case: Case) -> Said:
    """Every record has the hash that stands beside it."""
    wrong = (
        f"{task}/{actor}: {line.record.id} was changed after it was written."
        for task, row in case.sources.lines.items()
        for actor, lines in row.items()
        for line in lines
        if not line.holds
    )
    return first(wrong, "Every record has its own hash.")


def one_each(case: Case) -> Said:
    """Every episode has exactly one record, of this row's actor and rules."""
    return first(_row_problems(case), "Every episode of every row has exactly one record.")


def _row_problems(case: Case) -> Iterator[str]:
    for task, row in case.sources.rows.items():
        manifest = case.sources.manifests[task]
        for actor, records in row.items():
            where = f"{task}/{actor}"
            if len(records) != len(manifest.episodes):
                yield f"{where}: {len(records)} records for {len(manifest.episodes)} episodes."
            name = IDENTITIES.get(actor, f"agent {case.sources.agent.digest}")
            rule = (manifest.sha256, name, manifest.success_distance)
            for record, episode in zip(records, manifest.episodes, strict=False):
                if (record.id, record.seed, record.goal_seed) != (
                    *(episode.id, episode.seed, episode.goal_seed),
                ):
                    yield f"{where}: {record.id} stands where {episode.id} belongs."
                if (record.manifest, record.policy, record.success_distance) != rule:
                    yield f"{where}: {record.id} is of another manifest, actor or rule."
                may_be = {actor == "oracle", actor == "oracle" and record.outcome != "crash"}
                if record.privileged not in may_be:
                    yield f"{where}: {record.id} says otherwise who saw the simulator's state."
                if actor != "agent" and record.decisions:
                    yield f"{where}: {record.id} has decisions, which a control does not make."


def counts(case: Case) -> Said:
    """Outcome, steps and budget of every record follow from its own numbers and the rules."""
    return first(_count_problems(case), "Outcomes, steps and budgets keep the suite's rules.")


def _count_problems(case: Case) -> Iterator[str]:
    for task, row in case.sources.rows.items():
        for actor, records in row.items():
            for record in records:
                try:
                    check_counts(record, case.sources.manifests[task], f"{task}/{actor}")
                except CheckFailedError as error:
                    yield str(error)


def _field(name: str) -> Check:
    def run(case: Case) -> Said:
        fields = card_fields(case.sources, case.card.value["ledger"]["size"])
        return same(f"Card's {name}", case.card.value.get(name), fields[name]())

    return Check(f"card.{name}", 0, run, about=f"a card that says another {name}")


def later(case: Case) -> Said:
    """No attempt followed that the card could not know of."""
    told = case.card.value["attempts"]["k"]
    now = attempts_of(case.sources.ledger, case.sources.claimed.commit.hash).k
    if now == told:
        return holds(f"The card tells all {told} attempts of the ledger.")
    return broken(
        f"The card tells {told} attempts, and {now - told} followed: read it as one of {now}.",
        later=now - told,
    )


def card_ledger(case: Case) -> Said:
    """What the card says of the ledger, with its proofs, follows from the ledger."""
    claimed = case.card.value["ledger"]
    try:
        found = ledger_part(case.sources, claimed["size"])
    except (ConfigError, ArmillaryError) as error:
        return broken(str(error))
    return same("Card's ledger", claimed, found)


FIELDS = (
    *("suite", "agent", "rule", "seed", "attempts", "rows", "episodes"),
    *("manifests", "interruptions", "data", "contamination", "env"),
)
STATIC = (
    Check("card.signature", 0, signature, about="a card that the ledger's owner did not sign"),
    Check("card.subject", 0, subject, about="a statement about another agent"),
    Check("card.entered", 0, entered, about="a card that the ledger does not name"),
    Check("key.same", 0, key, about="somebody else's public key beside the card"),
    Check("ledger.chain", 0, chain, about="entries that were taken out or moved"),
    Check("ledger.signatures", 0, signatures, about="entries by another hand"),
    Check("ledger.order", 0, order, about="seeds drawn again, runs repeated, things backdated"),
    Check("ledger.clock", 0, clock, about="entries of a time to come"),
    Check("ledger.retracted", 0, retracted, about="a result that its owner took back"),
    Check("commit.suite", 0, committed_suite, about="other rules than were committed to"),
    Check("commit.agent", 0, committed_agent, about="another agent than was committed"),
    Check(
        "commit.training",
        0,
        committed_training,
        about="a training that the agent does not come from",
    ),
    Check("agent.budget", 0, agent_budget, about="an agent that searches more than it may"),
    Check("suite.known", 0, known_suite, about="easier rules under a known name"),
    Check("suite.code", 0, suite_code, about="a run by other code"),
    Check("suite.golden", 0, golden, about="worlds that draw other starts or goals"),
    Check("seed.fresh", 0, fresh, "warning", False, "seeds that could have been tried before"),
    Check("run.manifests", 0, manifests, about="episodes that were chosen"),
    Check("run.actors", 0, actors, about="a control that was left out"),
    Check("run.environment", 0, environment, about="an environment stated afterwards"),
    Check("run.profile", 0, profile, about="a run under other arithmetic than the suite's"),
    Check("run.root", 0, root, about="records changed after the run ended"),
    Check("run.chunks", 0, chunks, about="records changed while the run went on"),
    Check("records.hashes", 0, hashes, about="a record whose own hash is wrong"),
    Check("records.rows", 0, one_each, about="episodes left out, doubled, swapped or renumbered"),
    Check("records.counts", 0, counts, about="outcomes and budgets that the record itself denies"),
    *(_field(name) for name in FIELDS),
    Check("card.ledger", 0, card_ledger, about="proofs of another ledger"),
    Check("attempts.later", 0, later, "warning", False, "attempts that followed the card"),
)
