"""Only the machine that is meant is spoken to, and what ssh and rsync complain about is told in words."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from railcar.errors import HostKeyWrong, MachineError, MachineUnreachable
from railcar.machines.base import Address
from railcar.machines.lease import make_key, own_machine
from railcar.machines.shell import Shell, quote
from tests.machines.hosts import machine


def test_a_command_has_its_output_its_status_and_its_words(network):
    with machine(network) as (_, shell):
        assert shell.read("printf 'a b'") == "a b"
        assert shell.run("cat", stdin=b"\x00\xff").stdout == b"\x00\xff"
        assert shell.run("exit 7", check=False).status == 7
        with pytest.raises(MachineError, match="no such thing"):
            shell.run("echo no such thing >&2; exit 3")


def test_words_arrive_as_they_are(network):
    words = ["a b", "it's", "$HOME", "`id`", "ü", ""]
    with machine(network) as (_, shell):
        assert shell.read(f"printf '%s|' {quote(*words)}") == "|".join(words) + "|"
        assert shell.read(f"echo {quote('~/a b')}").endswith("/a b")
        assert "~" not in shell.read(f"echo {quote('~/a b')}")


def test_another_host_key_is_refused_and_nothing_is_sent(network, tmp_path):
    """Somebody who answers in the machine's place, with the machine's own sshd and another key."""
    make_key(tmp_path / "other", "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    with machine(network) as (lease, shell):
        shell.close()
        shell = Shell(replace(shell.address, host_keys=(other,)), tmp_path / "ssh")
        with pytest.raises(HostKeyWrong, match="nothing was sent"):
            shell.run("cat > ~/payload", stdin=b"secret")
        (tmp_path / "file").write_text("secret")
        with pytest.raises(HostKeyWrong):
            shell.send([tmp_path / "file"], "there/")
        assert lease.shell().run("ls ~/payload ~/there", check=False).status != 0


def test_nobody_there_is_told_with_what_to_look_at(place):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        shell = Shell(Address("127.0.0.1", closed.getsockname()[1], host_keys=("ssh-ed25519 AAAA",)), place / "ssh")
        with pytest.raises(MachineUnreachable, match=r"127\.0\.0\.1.*refused") as caught:
            shell.run("true")
        assert "port 22" in caught.value.hint


def test_a_machine_that_says_nothing_is_given_up(place):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        shell = Shell(Address("127.0.0.1", silent.getsockname()[1], host_keys=("ssh-ed25519 AAAA",)), place / "ssh")
        with pytest.raises(MachineUnreachable):
            shell.run("true", timeout_s=1)


def test_a_key_that_does_not_fit_is_told(network, tmp_path):
    make_key(tmp_path / "key", "stranger")
    with machine(network) as (_, shell):
        stranger = Shell(replace(shell.address, identity=tmp_path / "key"), tmp_path / "ssh")
        shell.close()
        with pytest.raises(MachineError, match="refused to let"):
            stranger.run("true")


def test_files_go_there_and_back_with_their_names(network, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("a b.txt", "ü.txt", "$(id).txt", "-x"):
        (tmp_path / "out" / name).write_text(name)
    (tmp_path / "back").mkdir()
    with machine(network) as (_, shell):
        shell.send([f"{tmp_path}/out/"], "in there/")
        shell.fetch("in there/", tmp_path / "back")
    assert {one.name: one.read_text() for one in (tmp_path / "back").iterdir()} == {
        name: name for name in ("a b.txt", "ü.txt", "$(id).txt", "-x")
    }


def test_commands_of_several_threads_share_one_connection(network):
    found: list[str] = []
    with machine(network) as (_, shell):
        threads = [threading.Thread(target=lambda: found.append(shell.read("echo $SSH_CONNECTION"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_a_machine_at_the_address_of_another_has_its_own_connection(network, tmp_path):
    """The other one may be gone, and its connection not yet noticed that."""
    with machine(network) as (_, shell):
        other = Shell(shell.address, tmp_path / "ssh")
        try:
            first, second = (one.read("echo $SSH_CONNECTION") for one in (shell, other))
            assert first != second and first == shell.read("echo $SSH_CONNECTION")
        finally:
            other.close()


@pytest.mark.parametrize("host", ["-oProxyCommand=id", "me@-x", "host:port", "@host@", ""])
def test_a_host_that_would_be_an_option_is_refused(place: Path, host: str):
    from railcar.errors import UsageError

    with pytest.raises(UsageError, match="is no host"):
        own_machine(host)


def test_a_host_of_ones_own_is_what_ssh_calls_it(place: Path):
    address = own_machine("me@box:2222").shell().address
    assert (address.user, address.host, address.port, address.host_keys) == ("me", "box", 2222, ())
