"""A chat template is foreign code: what it may do is bounded, and what templates do is not disturbed."""

from __future__ import annotations

import resource
import time

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.bounds import TOTAL
from localqwen.engine.template import Template
from localqwen.errors import InvalidModelError, InvalidRequestError

MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi <b>"}]
BIG = "{% set ns = namespace(x='a' * 1000000) %}"
THOUSAND = "range(1000)"

HOSTILE = {
    "nested loops": f"{{% for a in {THOUSAND} %}}{{% for b in {THOUSAND} %}}{{% for c in {THOUSAND} %}}"
    f"{{% for d in {THOUSAND} %}}{{% endfor %}}{{% endfor %}}{{% endfor %}}{{% endfor %}}",
    "loop over much": "{% for i in range(10**9) %}{% endfor %}",
    "text times number": "{{ 'a' * 10**9 }}",
    "number times text": "{{ 10**9 * 'a' }}",
    "list times number": "{{ [0] * 10**9 }}",
    "content times number": "{{ messages[0].content * 1000000000 }}",
    "power": "{{ 10 ** 10 ** 10 }}",
    "powers": "{{ 2 ** 60 * 2 ** 60 }}",
    "width": "{{ '%1000000000d' % 1 }}",
    "precision": "{{ '%.1000000000f' % 1 }}",
    "width as an argument": "{{ '%*d' % (1000000000, 1) }}",
    "named width": "{{ '%(a)1000000000d' % {'a': 1} }}",
    "format filter": "{{ '%1000000000d'|format(1) }}",
    "format method": "{{ '{:1000000000}'.format(1) }}",
    "format method's argument": "{{ '{:{}}'.format(1, 1000000000) }}",
    "format of much": BIG + "{{ ('{0}' * 3000).format(ns.x) }}",
    "centre": "{{ 'a'.center(1000000000) }}",
    "padding": "{{ 'a'.zfill(1000000000) }}",
    "tabs": "{{ '\\t'.expandtabs(1000000000) }}",
    "bytes": "{{ (5).to_bytes(1000000000, 'big') }}",
    "indent": "{{ 'a\\nb'|indent(1000000000) }}",
    "JSON": "{{ [1, [2]]|tojson(indent=1000000000) }}",
    "replace": BIG + "{{ ns.x.replace('', ns.x) }}",
    "replace filter": BIG + "{{ ns.x|replace('a', ns.x) }}",
    "join": BIG + "{{ ns.x|join(ns.x) }}",
    "join method": BIG + "{{ ns.x.join(ns.x) }}",
    "round": "{{ 5|round(-1000000000) }}",
    "sum of lists": "{% set l = [[0] * 10] * 9000 %}{{ l|sum(start=[])|length }}",
    "doubling": "{% set ns = namespace(x='ab') %}{% for i in range(90) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "doubling by ~": "{% set ns = namespace(x='ab') %}{% for i in range(90) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "doubling lists": "{% set ns = namespace(x=[1]) %}{% for i in range(90) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% endfor %}",
    "doubling blocks": "{% set ns = namespace(x='ab') %}{% for i in range(90) %}"
    "{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}{% endfor %}",
    "namespaces in namespaces": "{% set ns = namespace(x=1) %}{% for i in range(90) %}"
    "{% set ns.x = namespace(x=ns.x, y=ns.x) %}{% endfor %}{{ [ns.x]|string }}{% for i in range(10**6) %}{% endfor %}",
    "recursion": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "recursion in two": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "recursive loop": "{% for i in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
    "much output": BIG + "{% for i in range(100000) %}{{ ns.x }}{% endfor %}",
    "much output of a macro": BIG + "{% macro m() %}" + "{{ ns.x }}" * 5000 + "{% endmacro %}{{ m() }}",
    "much in one list": BIG + "{{ [" + "ns.x[1:]," * 5000 + "] }}",
    "much compared": "{% set a = [[0] * 9000] %}{% set b = [[0] * 9000] %}"
    "{% for i in range(100000) %}{% if " + "a == b and " * 100 + "false %}{% endif %}{% endfor %}",
    "slow search": BIG + "{{ ns.x.rfind('b' + ns.x[2:500000]) }}",
    "slow trim": BIG + "{{ ns.x.strip(ns.x) }}",
    "equal hashes": "{{ dict.fromkeys(range(0, 10**4 * (2**61 - 1), 2**61 - 1)) }}",
    "many equal hashes": "{{ range(0, 100000 * (2**61 - 1), 2**61 - 1)|unique|list|length }}",
    "map": "{{ range(100000)|map('format', 1)|map('replace', '', 'a' * 1000000)|list|length }}",
    "lorem ipsum": "{{ lipsum(n=1000000000) }}",
    "a long complaint": "{{ raise_exception('a' * 1000000) }}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_ends_in_one_sentence(source: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.thread_time()
    with pytest.raises((InvalidRequestError, InvalidModelError)) as raised:
        Template(source).render({"messages": MESSAGES})
    # CPU seconds of this thread: the limit is 1, and a single step never takes long.
    assert time.thread_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 * TOTAL // 1024
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "source",
    [
        "{% if true %}" * 500 + "{% endif %}" * 500,
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "a" * 200_000,
        "{% include 'x' %}",
        "{% autoescape true %}{% endautoescape %}",
        "{{ 'a'|urlize }}",
    ],
)
def test_what_cannot_be_compiled_is_a_broken_model(source: str) -> None:
    with pytest.raises(InvalidModelError, match="chat template cannot be used"):
        Template(source)


ORDINARY = [
    "{% for m in messages %}{{ '<' + m.role + '>\n' + m['content'] + '\n' }}{% endfor %}",
    "{% for m in messages if m.role != 'system' %}{{ loop.index }}/{{ loop.length }}{{ m.content|trim }}{% endfor %}",
    "{% set ns = namespace(last=none, all=[]) %}{% for m in messages %}{% set ns.all = ns.all + [m.role] %}"
    "{% set ns.last = m %}{% endfor %}{{ ns.all }}{{ ns.last.content }}",
    "{% macro show(m, sep=': ') %}{{ m.role ~ sep ~ m.content ~ 1 }}{% endmacro %}{{ messages|map(attribute='role')"
    "|join(', ') }}{% for m in messages[::-1] %}{{ show(m) }}{{ show(m, sep='=') }}{% endfor %}",
    "{{ messages|tojson }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ messages[-1]['role'] }}",
    "{% if messages[0].content is string and 'ell' in messages[0].content %}{{ messages[0].content.split('l') }}"
    "{% endif %}{{ undefined_name }}{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 10 }}{{ 'ab' * 3 }}{{ -3|abs }}",
    "{{ '%s is %05.1f' % ('x', 2) }}{{ '%s-%s'|format(1, 2) }}{{ '%(a)s'|format(a=3) }}{{ '{}{x:>4}'.format(1, x=2) }}",
    "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content|e }}{{ m.content|safe }}"
    "{{ m.content|replace('b', 'c')|upper|indent(2) }}{% break %}{% endfor %}",
    "{% for x in [1, [2, 3]] recursive %}{% if x is iterable %}{{ loop(x) }}{% else %}{{ x }}{% endif %}{% endfor %}",
    "{{ [1, 2, 3]|sum }}{{ [[1], [2]]|sum(start=[]) }}{{ {'a': (1, 2)}.items()|list }}{{ dict(a=1)|dictsort }}"
    "{% set a, b = 1, 2 %}{{ a < b <= 2 }}{{ (a, b) }}{{ [a, b]|sort(reverse=true)|first }}{{ 3.14159|round(2) }}",
    "{% set t %}a{{ messages[0].content }}{% endset %}{% filter upper %}{{ t }}{% endfilter %}",
]


@pytest.mark.parametrize("source", ORDINARY)
def test_an_ordinary_template_says_what_jinja_says(source: str) -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    plain = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    plain.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    expected = plain.from_string(source).render(messages=MESSAGES)
    if "tojson" in source:  # Jinja's own escapes for HTML
        expected = expected.replace("\\u003c", "<").replace("\\u003e", ">")
    assert Template(source).render({"messages": MESSAGES}) == expected


@given(st.lists(st.text(max_size=20), max_size=5), st.integers(-3, 3))
def test_operators_are_pythons(texts: list[str], number: int) -> None:
    source = "{{ a + b }}|{{ a ~ n ~ b }}|{{ a * n }}|{{ n * n - n }}|{{ [a] + [b] }}|{{ a[n:] }}|{{ a < b }}"
    a, b = "".join(texts), "".join(reversed(texts))
    variables = {"messages": MESSAGES, "a": a, "b": b, "n": number}
    assert Template(source).render(variables) == jinja2.Template(source).render(variables)


def test_a_long_conversation_is_not_too_much() -> None:
    messages = [{"role": "user", "content": "word " * 2000}] * 400
    text = Template(ORDINARY[0]).render({"messages": messages})
    assert len(text) == 400 * (10_000 + len("<user>\n\n"))
