"""`mindprint chat`: talk to a trained model, beside its base if wanted."""

from __future__ import annotations

from typing import Annotated

import typer

from mindprint.cli.options import BackendName, Device, ModelPath, RunPath

Compare = Annotated[
    str | None, typer.Option("--compare", metavar="base", help="answer twice: base, then trained")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TOPIC", help="as it was at the end of a topic")
]
Once = Annotated[
    str | None, typer.Option("--once", metavar="QUESTION", help="answer one question and end")
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="longest answer in tokens")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy")]


def chat(
    run: RunPath,
    compare: Compare = None,
    backend: BackendName = "",
    device: Device = "",
    model: ModelPath = None,
    until: Until = None,
    once: Once = None,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
) -> None:
    """Talk to the model of a run under its curriculum's system prompt. /exit ends, /new forgets.

    What is piped in is answered line by line.
    """
    from mindprint.cli.conversation import Conversation, Speech
    from mindprint.errors import ConfigError

    if compare not in {None, "base"}:
        hint = "use `--compare base`"
        raise ConfigError(f"cannot compare with `{compare}`", where="--compare", hint=hint)
    speech = Speech(max_tokens, temperature, compare == "base")
    with Conversation.open(run, speech, backend, device, model, until) as conversation:
        if once is not None:
            conversation.say(once)
        else:
            conversation.listen()
