"""What libraries say while a job runs goes to a file; what descant warns of reaches the terminal."""

import logging
import os
import sys
import threading
from pathlib import Path

import pytest

from descant.run.quiet import noise_in


def test_noise_goes_to_the_file_and_our_warnings_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deepspeed = logging.getLogger("DeepSpeed")
    handler = logging.StreamHandler(sys.stdout)  # as DeepSpeed sets its logger up
    deepspeed.addHandler(handler)
    try:
        with noise_in(tmp_path / "noise.log"):
            os.write(2, b"from C++\n")
            deepspeed.warning("from DeepSpeed")
            logging.getLogger("descant.test").warning("ours")
            os.write(1, b"a result\n")
    finally:
        deepspeed.removeHandler(handler)
    shown = capfd.readouterr()
    assert "a result" in shown.out
    assert "ours" in shown.err
    assert "from" not in shown.out + shown.err
    written = (tmp_path / "noise.log").read_text()
    assert "from C++" in written
    assert "from DeepSpeed" in written
    assert not deepspeed.filters


def test_what_ray_says_of_its_nodes_goes_to_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def say() -> None:
        sys.stdout.write(f"said by {threading.current_thread().name}\n")

    with noise_in(tmp_path / "noise.log"):
        for name in ("ray_listen_error_messages", "MainThread"):
            thread = threading.Thread(target=say, name=name)
            thread.start()
            thread.join()
    shown = capfd.readouterr().out
    assert shown == "said by MainThread\n"
    assert "said by ray_listen_error_messages" in (tmp_path / "noise.log").read_text()
