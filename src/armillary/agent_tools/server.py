"""Server: the tools of a worker over the Model Context Protocol, by the package ``mcp``.

Descriptions and types here are all that a language model knows of a tool, so they say what comes
back and in which unit. Wrong arguments are answered with one sentence, as every other error is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp_types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import Field, ValidationError

from armillary import __version__
from armillary.agent_tools.limits import (
    LEAST_SIDE_PX,
    MOST_AHEAD,
    MOST_ROWS,
    MOST_SIDE_PX,
    MOST_SURPRISE,
    MOST_WIDTH,
)
from armillary.agent_tools.worker import Worker
from armillary.core.errors import ArmillaryError, unknown_name

INSTRUCTIONS = """Ask a world model about recorded episodes: what it sees, predicts, finds
surprising and would do. Call `list` first: it gives the names, steps and action bounds that other
tools take. Steps are recorded steps, counted from 0. Nothing is executed or changed."""
_MOST_COUNT = 10_000_000
_READ_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)

Name = Annotated[str, Field(min_length=1, max_length=64)]
Model = Annotated[Name, Field(description="Name of a model, from `list`.")]
Data = Annotated[Name, Field(description="Name of a dataset, from `list`.")]
Count = Annotated[int, Field(ge=0, le=_MOST_COUNT)]
EpisodeNumber = Annotated[Count, Field(description="Number of the episode, from 0.")]
Step = Annotated[Count, Field(description="Recorded step of the episode, from 0.")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Row = Annotated[list[Number], Field(min_length=1, max_length=MOST_WIDTH)]
Rows = Annotated[list[Row], Field(min_length=1, max_length=MOST_ROWS)]
Ahead = Annotated[int, Field(ge=1, le=MOST_AHEAD, description="Model steps.")]


class AgentServer(MCPServer):
    """Serves the tools of one worker.

    Args:
        worker: answers; it must have been started.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__(
            "armillary", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING"
        )
        self._takes: dict[str, frozenset[str]] = {}
        for name, tool in tools(worker).items():
            self.add_tool(tool, name=name, annotations=_READ_ONLY)
            self._takes[name] = frozenset(tool.__annotations__) - {"return"}

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> Any:
        """Call a tool; what is wrong is reported in one sentence.

        Raises:
            ToolError: an unknown tool, an argument that cannot be, or a question that cannot be
                answered.
        """
        if name not in self._takes:
            raise ToolError(str(unknown_name("tool", name, self._takes)))
        for argument in arguments:
            if argument not in self._takes[name]:
                known = self._takes[name]
                raise ToolError(str(unknown_name(f"argument of {name}", argument, known)))
        try:
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError as error:
            raise UnexpectedToolError(
                f"The tool {name} failed; the server's log on stderr has the details."
            ) from error
        except ToolError as error:
            raise ToolError(_sentence(name, error)) from error


def tools(worker: Worker) -> dict[str, Callable[..., CallToolResult]]:
    """Return the tools of a worker by name; a client gets their docstrings.

    Args:
        worker: answers.
    """

    def listing() -> CallToolResult:
        """List the models and datasets that can be asked about. Call this first.

        Of each model: its sensors, the width and bounds of an action, seconds of a model step, how
        many recorded steps that is, and the datasets that it can see. Of each dataset: the number
        of episodes and steps, seconds of a recorded step, cameras and streams.
        """
        return _asked(worker, "listing")

    def encode(model: Model, dataset: Data, episode: EpisodeNumber, step: Step) -> CallToolResult:
        """Encode one recorded step and summarise the model's latent.

        Returns the norm beside the usual one, the first principal numbers in standard deviations
        of the dataset, and places. Places are read from the latent by a linear fit, beside the
        recorded ones, with the mean error and R2 of that fit on other episodes. The first call for
        a dataset is slower, since the fit is made then.
        """
        return _asked(worker, "encode", model=model, dataset=dataset, episode=episode, step=step)

    def predict(
        model: Model,
        dataset: Data,
        episode: EpisodeNumber,
        step: Step,
        actions: Annotated[
            Rows | None,
            Field(
                description="One row of numbers for each recorded step, in the dataset's units. "
                "Leave it out for the recorded actions. Values outside the bounds are clipped, "
                "which a note says."
            ),
        ] = None,
        ahead: Annotated[Ahead, Field(description="Model steps under recorded actions.")] = 8,
    ) -> CallToolResult:
        """Predict what happens after a recorded step under given actions or the recorded ones.

        Returns for each model step the distance of the predicted latent from the recorded one, the
        same for a prediction of no change, and predicted beside recorded places. The picture shows
        recorded moments above, and below the recorded pictures of other episodes nearest to the
        predictions. A latent has no picture of its own.
        """
        return _asked(
            worker,
            "predict",
            model=model,
            dataset=dataset,
            episode=episode,
            step=step,
            actions=actions,
            ahead=ahead,
        )

    def surprise(
        model: Model,
        dataset: Data,
        episode: EpisodeNumber,
        step: Annotated[Count, Field(description="Recorded step with which to begin.")] = 0,
        steps: Annotated[
            int, Field(ge=2, le=MOST_SURPRISE, description="Model steps at most.")
        ] = MOST_SURPRISE,
    ) -> CallToolResult:
        """Find the moments of an episode at which the model's prediction fails most.

        Surprise is 1 where the prediction is as wrong as usual in other episodes of the dataset.
        Returns the five highest peaks with their steps and times in seconds, the median, and
        events that rules find in the pictures (cuts, frozen stretches, things that appear). Events
        are null where the dataset has too few pictures for these rules.
        """
        return _asked(
            worker,
            "surprise",
            model=model,
            dataset=dataset,
            episode=episode,
            step=step,
            steps=steps,
        )

    def plan(
        model: Model,
        dataset: Data,
        episode: EpisodeNumber,
        step: Step,
        goal_step: Annotated[Count, Field(description="Recorded step that shows the goal.")],
        goal_episode: Annotated[
            Count | None, Field(description="Episode of the goal. Leave it out for the same one.")
        ] = None,
        ahead: Ahead = 8,
        seed: Annotated[int, Field(ge=0, le=_MOST_COUNT, description="Of the search.")] = 0,
    ) -> CallToolResult:
        """Plan actions that lead from a recorded step to what another recorded step shows.

        Nothing is executed. Returns one action for each recorded step, the predicted cost, the
        distance of the predicted latent to the goal's now and after each model step, predicted
        places, and how many model steps the planner took. The actions can be given to `predict`.
        """
        return _asked(
            worker,
            "plan",
            model=model,
            dataset=dataset,
            episode=episode,
            step=step,
            goal_step=goal_step,
            goal_episode=goal_episode,
            ahead=ahead,
            seed=seed,
        )

    def view(
        dataset: Data,
        episode: EpisodeNumber,
        step: Step,
        camera: Annotated[
            str, Field(max_length=64, description="Name of a camera. Empty for the colour camera.")
        ] = "",
        side_px: Annotated[
            int,
            Field(
                ge=LEAST_SIDE_PX,
                le=MOST_SIDE_PX,
                description="Longer side of the picture at most, pixels.",
            ),
        ] = 256,
    ) -> CallToolResult:
        """Show the recorded picture of one step, with its time, action and recorded numbers.

        Depth is drawn as colour, near bright and far dark. Pictures are never enlarged.
        """
        return _asked(
            worker,
            "view",
            dataset=dataset,
            episode=episode,
            step=step,
            camera=camera,
            side_px=side_px,
        )

    made = (encode, predict, surprise, plan, view)
    return {"list": listing} | {tool.__name__: tool for tool in made}


def _asked(worker: Worker, question: str, **arguments: Any) -> CallToolResult:
    """Return an answer as text, as values, and as pictures.

    Raises:
        ToolError: the question cannot be answered.
    """
    try:
        reply = worker.ask(question, arguments)
    except ArmillaryError as error:
        raise ToolError(str(error)) from error
    text = TextContent(type="text", text=json.dumps(reply.facts, allow_nan=False))
    images = [
        ImageContent(type="image", data=base64.b64encode(one).decode(), mime_type="image/png")
        for one in reply.pictures
    ]
    return CallToolResult(content=[text, *images], structured_content=dict(reply.facts))


def _sentence(name: str, error: ToolError) -> str:
    """Return what a tool error says, without the prefix and the links that the package adds."""
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return str(cause if isinstance(cause, ToolError) else error)
    first = cause.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("list["))
    said = first["msg"][:1].lower() + first["msg"][1:]
    return f"The argument {where} of {name} cannot be used: {said}."
