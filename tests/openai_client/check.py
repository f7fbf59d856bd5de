"""The official OpenAI client against graygate: chats, lists models, and raises the errors it has.

Called with a JSON object of base URLs by what their upstreams do; tests/live/openai_client.rs starts them.
"""

import asyncio
import json
import sys

import openai

BASES = json.loads(sys.argv[1])
QUESTION = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello out there"}]}
# Its own retries would hide what the gateway answers, and a proxy of the machine is not asked.
OPTIONS = {"api_key": "sk-the-callers-own-key-0123456789", "max_retries": 0, "timeout": 30}


def client(upstream):
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=BASES[upstream], http_client=http, **OPTIONS)


def chats():
    answer = client("healthy").chat.completions.create(**QUESTION, temperature=0, user="ann")
    assert answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason == "stop", answer
    assert (answer.model, answer.usage.prompt_tokens) == ("gpt-4.1", 3), answer


def reads_who_answered():
    raw = client("healthy").chat.completions.with_raw_response.create(**QUESTION)
    assert raw.headers["x-version"] == "v1", raw.headers
    assert raw.headers["x-attempts"] == "1", raw.headers
    assert raw.parse().choices, raw


def chats_without_waiting():
    async def ask():
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        base = BASES["healthy"]
        async with openai.AsyncOpenAI(base_url=base, http_client=http, **OPTIONS) as gateway:
            asked = (gateway.chat.completions.create(**QUESTION) for _ in range(5))
            return await asyncio.gather(*asked)

    answers = asyncio.run(ask())
    assert [answer.usage.completion_tokens for answer in answers] == [3] * 5, answers


def streams():
    options = {"stream": True, "stream_options": {"include_usage": True}}
    stream = client("healthy").chat.completions.create(**QUESTION, **options)
    assert stream.response.headers["x-version"] == "v1", stream.response.headers
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text.split() == ["tok"] * 3, text
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop", chunks
    assert chunks[-1].usage.completion_tokens == 3, chunks[-1]
    assert {(chunk.id, chunk.model) for chunk in chunks} == {(chunks[0].id, "gpt-4.1")}, chunks


def streams_that_break_raise():
    def read(upstream):
        said = []
        try:
            for chunk in client(upstream).chat.completions.create(**QUESTION, stream=True):
                said += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        except openai.APIError as caught:
            return said, caught
        raise AssertionError(f"{upstream}: {said}")

    said, caught = read("stream_cut")
    assert len(said) == 2, said
    assert caught.code == "upstream_truncated", caught.body
    said, caught = read("unauthorized")
    assert (said, type(caught)) == ([], openai.AuthenticationError), caught


def lists_models():
    listed = [model.id for model in client("healthy").models.list()]
    assert listed == ["gpt-4.1", "gpt-4.1-new"], listed


def raised(error, upstream, ask=lambda gateway: gateway.chat.completions.create(**QUESTION)):
    try:
        answer = ask(client(upstream))
    except openai.APIStatusError as caught:
        assert type(caught) is error, f"{upstream}: {caught!r}"
        return caught
    raise AssertionError(f"{upstream}: {answer}")


def errors_have_their_types():
    for upstream, error, status, code in [
        ("unauthorized", openai.AuthenticationError, 401, "upstream_unauthorized"),
        ("model_not_found", openai.NotFoundError, 404, "upstream_model_not_found"),
        ("rate_limited", openai.RateLimitError, 429, "rate_limit_exceeded"),
        ("server_error", openai.InternalServerError, 502, "upstream_server_error"),
        ("timeout", openai.InternalServerError, 504, "upstream_timeout"),
    ]:
        caught = raised(error, upstream)
        said = (caught.status_code, caught.code, caught.type)
        assert said == (status, code, "upstream_error"), said
        assert f"v1: {upstream}" in caught.message, caught.message
        assert caught.response.headers["x-version"] == "v1", caught.response.headers
    wait = raised(openai.RateLimitError, "rate_limited").response.headers["retry-after"]
    assert wait == "7", wait


def mistakes_of_the_caller_have_theirs():
    def embeds(gateway):
        return gateway.embeddings.create(model="gpt-4.1", input="hello")

    caught = raised(openai.NotFoundError, "healthy", embeds)
    assert (caught.code, caught.type) == ("not_found", "invalid_request_error"), caught.body

    def asks_a_number(gateway):
        return gateway.chat.completions.create(model=7, messages=[])

    caught = raised(openai.BadRequestError, "healthy", asks_a_number)
    assert caught.code == "invalid_request", caught.body


for check in [
    chats,
    reads_who_answered,
    chats_without_waiting,
    streams,
    streams_that_break_raise,
    lists_models,
    errors_have_their_types,
    mistakes_of_the_caller_have_theirs,
]:
    check()
    print("ok", check.__name__)
