"""Mixed fleets: code per architecture, images per platform, and workers without what it takes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from oakctl.model import architectures
from oakctl.model.images import Layer, PlatformImage
from oakctl.model.node import ContainerFacts
from oakctl.model.secrets import SecretUse
from oakctl.model.service import Code, ServiceSpec
from oakctl.orchestration.scheduling import filters
from oakctl.orchestration.scheduling.candidate import Candidate, Surroundings
from oakctl.orchestration.scheduling.cluster import decide
from tests.scheduling import samples

AMD, ARM = "linux/amd64", "linux/arm64"


def worker(name: str, platform: str, architecture: str = "") -> Candidate:
    base = samples.worker(name)
    return replace(
        base,
        facts=replace(
            base.facts,
            architecture=architecture or architectures.of_platform(platform),
            runtimes=("process", "container"),
            containers=ContainerFacts("Docker", platform=platform),
        ),
    )


def service(**changes: object) -> ServiceSpec:
    base = ServiceSpec("app.ns.web.ns", "app.ns", "container", "web:1")
    return replace(base, **changes)  # type: ignore[arg-type]


def pushed(platform: str) -> PlatformImage:
    return PlatformImage(platform, "a" * 64, 1, (Layer("b" * 64, 1, "c" * 64),))


FLEET = (worker("pc", AMD), worker("pi", ARM), worker("board", "linux/riscv64"))
BOTH = (Code("x86_64", "web:1"), Code("aarch64", "web:1-arm"))


def reasons(spec: ServiceSpec, **around: object) -> dict[str, str]:
    surroundings = Surroundings(**around)  # type: ignore[arg-type]
    return {one.name: "; ".join(filters.objections(spec, one, surroundings)) for one in FLEET}


def test_code_for_each_architecture_keeps_others_out() -> None:
    spec = service(codes=BOTH, architectures=("x86_64", "aarch64"))
    assert reasons(spec) == {
        "pc": "",
        "pi": "",
        "board": "architecture riscv64 is not among aarch64, x86_64",
    }


def test_a_64_bit_docker_beside_32_bit_programs_takes_what_docker_runs() -> None:
    mixed = worker("mixed", ARM, architecture="armv7l")
    spec = service(codes=BOTH, architectures=("x86_64", "aarch64"))
    assert filters.objections(spec, mixed, Surroundings()) == ()
    assert architectures.of_node(spec, mixed.facts) == "aarch64"
    program = service(virtualization="process", architectures=("aarch64",))
    assert "architecture armv7l" in filters.objections(program, mixed, Surroundings())[0]


def test_a_pushed_image_without_the_platform_is_a_reason() -> None:
    assert reasons(service(images=(pushed(AMD), pushed(ARM)))) == {
        "pc": "",
        "pi": "",
        "board": "image web:1 has no linux/riscv64: it is for linux/amd64, linux/arm64",
    }


def test_of_pushed_images_each_architecture_is_looked_at_by_itself() -> None:
    codes = (Code("x86_64", "web:1", (pushed(AMD),)), Code("aarch64", "arm:1", (pushed(AMD),)))
    found = reasons(service(codes=codes, architectures=("x86_64", "aarch64")))
    assert found["pc"] == ""
    assert found["pi"] == "image arm:1 has no linux/arm64: it is for linux/amd64"


def test_what_a_worker_has_found_of_a_registry_is_remembered() -> None:
    found = reasons(service(), unfit=frozenset({AMD}))
    assert found["pc"] == "image web:1 has no linux/amd64 in its registry, as a worker has found"
    assert found["pi"] == ""
    decision = decide(service(), FLEET[:2], "rom", unfit=frozenset({AMD}))
    assert decision.worker == "pi"


def test_secrets_need_a_worker_that_takes_them() -> None:
    spec = service(secrets=(SecretUse("a", "a"),))
    old, none, able = (replace(FLEET[0].facts, secrets=ok) for ok in (False, False, True))
    none = replace(none, secrets_reason="/run is not in memory")
    said = [
        "; ".join(filters.objections(spec, replace(FLEET[0], facts=one), Surroundings()))
        for one in (old, none, able)
    ]
    assert said == [
        "worker takes no secrets: its agent is of a release without them",
        "worker takes no secrets: /run is not in memory",
        "",
    ]
    assert filters.objections(service(), replace(FLEET[0], facts=old), Surroundings()) == ()


PLATFORMS = st.sampled_from([AMD, ARM, "linux/arm", "linux/386", "linux/riscv64"])


@given(st.frozensets(PLATFORMS, min_size=1), st.lists(PLATFORMS, min_size=1, max_size=4))
def test_nothing_is_placed_where_its_code_does_not_run(
    built: frozenset[str], nodes: list[str]
) -> None:
    names = sorted(architectures.of_platform(platform) for platform in built)
    spec = service(codes=tuple(Code(n, f"web:{n}") for n in names), architectures=tuple(names))
    fleet = [worker(f"w{n}", platform) for n, platform in enumerate(nodes)]
    chosen = decide(spec, fleet, "rom").worker
    fitting = {one.name for one, platform in zip(fleet, nodes, strict=True) if platform in built}
    assert (chosen in fitting) if fitting else chosen is None
    for one in fleet:
        if one.name in fitting:
            own = architectures.of_node(spec, one.facts)
            assert spec.on(own).code == f"web:{own}"
