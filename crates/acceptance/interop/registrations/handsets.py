"""The phones: baresip and PJSIP. Each plays a tone of its own and records the audio that it gets."""

import json
import math
import re
import struct
import subprocess
import sys
import wave
from pathlib import Path

from edge import Failed, end, start
from softphone import Softphone, wait_for

HERE = Path(__file__).resolve().parent
RATE, SECONDS_OF_TONE = 8000, 120
# A tone is heard if a tenth of a second has most of its energy there, for as many tenths.
TENTHS = 8


def write_tone(path, hertz):
    samples = (int(9000 * math.sin(2 * math.pi * hertz * n / RATE)) for n in range(RATE))
    second = b"".join(struct.pack("<h", sample) for sample in samples)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(second * SECONDS_OF_TONE)


def tenths_with(hertz, path):
    """In how many tenths of a second of a recording this tone is the loudest part."""
    raw = path.read_bytes()[44:]
    count, step = 0, RATE // 10
    for begin in range(0, len(raw) - 2 * step, 2 * step):
        samples = struct.unpack(f"<{step}h", raw[begin : begin + 2 * step])
        energy = sum(one * one for one in samples)
        # Goertzel
        factor, before, last = 2 * math.cos(2 * math.pi * hertz / RATE), 0.0, 0.0
        for sample in samples:
            before, last = last, sample + factor * last - before
        power = before * before + last * last - factor * before * last
        count += energy > step * 10_000 and power > 0.7 * energy * step / 2
    return count


class Ears:
    """The recordings of a phone."""

    def heard(self, hertz):
        return sum(tenths_with(hertz, path) for path in self.directory.glob(self.recordings))

    def forget(self):
        for path in self.directory.glob(self.recordings):
            path.unlink()


class Baresip(Ears, Softphone):
    """baresip 1."""

    recordings = "dump-*-dec.wav"

    def __init__(self, directory, account, peer, *, hertz, host, address, more=""):
        super().__init__(directory, account, peer, host=host, address=address)
        self.hertz, self.tone = hertz, directory / "tone.wav"
        write_tone(self.tone, hertz)
        config = directory / "config"
        text = config.read_text().replace("audio_source aubridge,x", f"audio_source aufile,{self.tone}")
        text += "module aufile.so\nmodule sndfile.so\nmodule_tmp uuid.so\nstatmode_default off\n"
        config.write_text(text + f"snd_path {directory}\n{more}")



class Pjsip(Ears, Softphone):
    """PJSIP's user agent in a process of its own."""

    recordings = "heard-*.wav"

    def __init__(self, directory, settings, *, hertz, host):
        directory.mkdir(parents=True)
        self.name, self.directory, self.out = directory.name, directory, directory / "out"
        self.hertz, self.events, self.read = hertz, [], 0
        tone = directory / "tone.wav"
        write_tone(tone, hertz)
        self.settings = directory / "settings.json"
        own = {"tone": str(tone), "recordings": str(directory), "rate": RATE}
        self.settings.touch(mode=0o600)
        self.settings.write_text(json.dumps({**settings, **own}))
        self.command = [*host.prefix, sys.executable, HERE / "pjsip_phone.py", self.settings]

    def __enter__(self):
        command = [str(part) for part in self.command]
        self.process = start(command, self.out, stdin=subprocess.PIPE, cwd=self.directory)
        try:
            self.event("READY")
        except BaseException:
            end(self.process)
            raise
        return self

    def __exit__(self, *_):
        end(self.process)
        self.process.stdin.close()

    def do(self, command, parameters=""):
        line = json.dumps({"command": command, "params": parameters}) + "\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()

    def messages(self, since=0):
        found = re.findall(r"bytes Re[^\n]* (to|from) \w+ \S+:\n(.*?)\n--end msg--", self.text()[since:], re.S)
        return [("->" if way == "to" else "<-", text) for way, text in found]

    def poll(self):
        text = self.text()
        if self.process.poll() is not None:
            raise Failed(f"PJSIP ended:\n{text[-5000:]}")
        whole = text.rfind("\n") + 1
        new, self.read = text[self.read : whole], whole
        self.events += [json.loads(line) for line in new.splitlines() if line.startswith("{")]


def hears(phone, other):
    """Waits until a phone hears the other one, in both directions."""
    for ear, mouth in ((phone, other), (other, phone)):
        wait_for(f"{ear.name} hears {mouth.name}", lambda: ear.heard(mouth.hertz) >= TENTHS)
