"""A trial in the standard library alone: quick to start, and able to misbehave.

    python bare_trial.py JOURNAL [steps=40] [pause=0.01] [MODE]

It serves `/metrics` and `/history`, keeps a checkpoint, ends at SIGTERM and writes its result. To JOURNAL it appends a
line when it starts and when it ends; a second live process of the same trial writes ``double``. The modes are below.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

JOURNAL = Path(sys.argv[1])
OPTIONS = dict(option.split("=") for option in sys.argv[2:] if "=" in option)
MODES = {option for option in sys.argv[2:] if "=" not in option}
TRIAL, ATTEMPT = os.environ["TUNING_TRIAL"], int(os.environ["TUNING_ATTEMPT"])
PARAMETERS = json.loads(os.environ["TUNING_PARAMETERS"])
FOLDER = Path(os.environ["TUNING_CHECKPOINT_URI"])
STEPS, PAUSE = int(OPTIONS.get("steps", 40)), float(OPTIONS.get("pause", 0.01))

history: list[dict[str, object]] = []
state = {"step": 0, "loss": float("nan"), "stop": False}


def journal(what: str) -> None:
    with JOURNAL.open("a") as file:
        file.write(json.dumps([what, TRIAL, ATTEMPT, os.getpid(), state["step"]]) + "\n")


def finish(outcome: str, code: int) -> None:
    checkpoint()
    result = {
        "outcome": outcome,
        "step": state["step"],
        "attempt": ATTEMPT,
        "values": {} if "no-value" in MODES else {"eval_loss": state["loss"]},
        "checkpoint": str(FOLDER / "state.json"),
    }
    Path(os.environ["TUNING_TERMINATION_PATH"]).write_text(json.dumps(result))
    journal(outcome)
    sys.exit(code)


def checkpoint() -> None:
    part = FOLDER / "state.part"
    part.write_text(json.dumps({"step": state["step"], "history": history}))
    part.replace(FOLDER / "state.json")


def answer(connection: socket.socket) -> None:
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            got = connection.recv(4096)
            if not got:
                return
            head += got
        path = head.split(b" ")[1].decode()
        status, body = "200 OK", ""
        if path.startswith("/metrics"):
            name = "eval_los" if "wrong-name" in MODES else "eval_loss"
            body = f"train_step {state['step']}\ntuning_attempt {ATTEMPT}\n{name} {state['loss']}\n"
        elif path.startswith("/history") and "no-history" not in MODES:
            seen = path.partition("cursor=")[2].partition("&")[0]
            body = "".join(json.dumps(record) + "\n" for record in history[int(seen or 0) :])
            status += f"\r\nTuning-Next: {len(history)}"
        else:
            status = "404 Not Found"
        connection.sendall(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )


def serve(listening: socket.socket) -> None:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def start_children() -> None:
    """One child in our group, and one that has left it, its parent and its session."""
    sleep = [
        sys.executable,
        "-S",
        "-c",
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
    ]
    near = subprocess.Popen(sleep)
    middle = os.fork()
    if not middle:
        os.setsid()
        far = subprocess.Popen(sleep)
        (FOLDER / "children").write_text(f"{near.pid} {far.pid}")
        os._exit(0)
    os.waitpid(middle, 0)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = (FOLDER / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        journal("double")
        sys.exit(9)
    journal("start")
    if "ignores-sigterm" in MODES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: state.update(stop=True))
    if "dies-at-once" in MODES:
        sys.exit(3)
    if "configuration" in MODES:
        sys.stdout.write("lr must not be odd\n")
        sys.exit(64)
    if "silent" in MODES:
        time.sleep(600)
    if "children" in MODES:
        start_children()
    if (FOLDER / "state.json").exists():
        kept = json.loads((FOLDER / "state.json").read_text())
        state["step"] = kept["step"]
        history.extend(kept["history"])
    if "exits-unheard" not in MODES:
        listening = socket.socket()
        listening.bind(("127.0.0.1", int(OPTIONS.get("port", os.environ["TUNING_PORT"]))))
        listening.listen(64)
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        if "port" not in OPTIONS:
            say(f"tuning: serving on port {listening.getsockname()[1]}\n")
    if "chatty" in MODES:
        say(("y" * 79 + "\n") * 50_000)
    first = state["step"]
    while state["step"] < STEPS:
        if state["stop"]:
            finish("Interrupted", 0)
        time.sleep(PAUSE)
        step = state["step"] + 1
        if step == STEPS // 2 and step > first:
            misbehave()
        shown = step - 10 if "backwards" in MODES and step > STEPS // 2 else step
        loss = float("nan") if "nan" in MODES else 1.0 / (1.0 + shown * PARAMETERS["lr"])
        record = {"step": shown, "attempt": ATTEMPT, "time": time.time(), "values": {"eval_loss": json_number(loss)}}
        history.append(record)
        state.update(step=step, loss=loss)
        if step % 10 == 0:
            checkpoint()
    if "ends-badly" in MODES:
        sys.stderr.write("Fatal: the disk is on fire\n")
        sys.exit(1)
    finish("Completed", 0)


def misbehave() -> None:
    if "crashes" in MODES or ("crashes-once" in MODES and ATTEMPT == 1):
        raise RuntimeError("a bad batch")
    if "is-killed" in MODES:
        os.kill(os.getpid(), signal.SIGKILL)
    if "memory" in MODES:
        raise MemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def json_number(value: float) -> float | str:
    return value if value == value else "NaN"


if __name__ == "__main__":
    main()
