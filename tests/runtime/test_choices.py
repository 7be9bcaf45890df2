"""What may be said of the machine, judged without torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from facemae_cli.errors import UsageError
from facemae_cli.runtime.choices import check_backend, check_batch_size, check_device, check_precision, texts


def test_one_text_is_a_list_of_one() -> None:
    assert [texts(given) for given in (None, "a", ["a", "b"], ())] == [[], ["a"], ["a", "b"], []]


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_devices(name: str) -> None:
    check_device(name)


@pytest.mark.parametrize(
    ("check", "said", "told"),
    [
        (check_device, "toaster", "--device 'toaster' is not a device; give auto, cpu, cuda or cuda:N"),
        (check_device, "cuda:", "--device 'cuda:'"),
        (check_device, "auto:1", "--device 'auto:1'"),
        (check_device, "", "--device ''"),
        (check_precision, "fp8", "--precision 'fp8' is not known"),
        (check_backend, "tvm", "--backend 'tvm' is not known; say auto, torch, onnxruntime or openvino"),
        (check_batch_size, "0", "--batch-size '0' is neither auto nor a number from 1"),
        (check_batch_size, "-1", "--batch-size '-1'"),
        (check_batch_size, "many", "--batch-size 'many'"),
    ],
)
def test_what_is_none(check: Callable[[str], None], said: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(said)
    assert str(caught.value).startswith(told)
