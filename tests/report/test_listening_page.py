"""The listening page in a real browser, if there is one."""

from __future__ import annotations

import base64
import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import PHONE, WIDE, errors, open_browser, resize
from typer.testing import CliRunner
from voices import hiss, voice, write

from dccrn_cli import ListenOptions, collect_results, listening_page
from dccrn_cli.cli.app import app
from dccrn_cli.errors import OptionError
from dccrn_cli.report.listening import page as page_module
from dccrn_cli.report.listening.recordings import Versions, make_clip

SCRIPT = "<script>alert(1)<&script>"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings, noisy, clean and by two systems."""
    root = tmp_path_factory.mktemp("listen")
    for number in range(12):
        x = voice(number, 2.0)
        name = f"{SCRIPT if number == 3 else f'talk {number}'}.wav"
        write(root / "clean" / name, x)
        write(root / "noisy" / name, hiss(x, 0.01 * (number + 1), number))
        write(root / "same" / name, hiss(x, 0.01 * (number + 1), number))
        write(root / "ours" / name, hiss(x, 0.002, number))
        write(root / "theirs" / name, 0.5 * hiss(x, 0.002, number))
    return root


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def window(downloads: Path) -> Iterator[Any]:
    yield from open_browser(downloads)


@pytest.fixture(scope="module")
def compared(folders: Path) -> Path:
    """A page with references and scores."""
    options = ListenOptions(metrics=("si_snr", "stoi"), jobs=1, cache=False)
    made = listening_page(
        folders / "noisy", [folders / "ours", folders / "theirs"], folders / "page.html", folders / "clean", options
    )
    assert len(made.files) == 12
    assert made.size == made.path.stat().st_size
    return made.path


def open_page(window: Any, path: Path, size: tuple[int, int] = WIDE) -> None:
    resize(window, size)
    errors(window)
    window.get(path.as_uri())
    wait(window, "return listening.player.duration > 0")


def wait(window: Any, condition: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not window.execute_script(condition):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.02)


def press(window: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(window).send_keys(*keys).perform()


def click(window: Any, selector: str) -> None:
    window.find_element("css selector", selector).click()


def data_of(path: Path) -> dict[str, Any]:
    text = path.read_text("utf-8")
    start = text.index('id="page-data">') + len('id="page-data">')
    data: dict[str, Any] = json.loads(text[start : text.index("</script>", start)])
    return data


def test_page_data_and_audio(compared: Path, folders: Path) -> None:
    data = data_of(compared)
    file = next(file for file in data["files"] if file["name"] == "talk 5.wav")
    assert [version["label"] for version in file["versions"]] == ["Noisy", "ours", "theirs", "Reference"]
    assert SCRIPT not in compared.read_text("utf-8")
    # Half the level is 6 dB quieter, and matching attenuates the louder one by that.
    ours, theirs = file["versions"][1], file["versions"][2]
    assert ours["lufs"] - theirs["lufs"] == pytest.approx(6.0, abs=0.2)
    loudness = [version["lufs"] + version["matchDb"] for version in file["versions"]]
    assert np.ptp(loudness) < 1e-6
    assert max(version["matchDb"] for version in file["versions"]) == 0
    assert ours["scores"]["si_snr"] > file["versions"][0]["scores"]["si_snr"] + 10
    index = data["files"].index(file)
    text = compared.read_text("utf-8")
    start = text.index(f'id="sound-{index}-2">') + len(f'id="sound-{index}-2">')
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(text[start : text.index("<", start)])))
    wanted, _ = soundfile.read(folders / "theirs" / "talk 5.wav")
    assert rate == 16_000
    gain = float(sound @ wanted / (wanted @ wanted))
    assert np.abs(sound - gain * wanted).max() < 1e-4


def test_most_changed_files_come_first(folders: Path) -> None:
    made = listening_page(folders / "noisy", folders / "ours", folders / "most.html", options=ListenOptions(files=2))
    assert made.files == ("talk 11.wav", "talk 10.wav")
    options = ListenOptions(files=1, pick="worst", metrics=("si_snr",), jobs=1, cache=False)
    worst = listening_page(folders / "noisy", folders / "same", folders / "w.html", folders / "clean", options)
    assert worst.files == ("talk 11.wav",)


def test_picking_by_a_score_that_needs_references(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"PESQ-WB.* score to be picked by; add --ref"):
        options = ListenOptions(pick="worst", by="pesq_wb")
        listening_page(folders / "noisy", folders / "ours", tmp_path / "a.html", options=options)


def test_excerpt_with_the_largest_change(tmp_path: Path) -> None:
    rate = 8000
    x = np.full(60 * rate, 0.01, np.float32)
    noisy = x.copy()
    noisy[41 * rate : 46 * rate] += 0.3
    write(tmp_path / "noisy.wav", noisy, rate)
    write(tmp_path / "clean.wav", np.repeat(np.stack([x, x], axis=1), 2, axis=0), 2 * rate)
    clip = make_clip(Versions("a", tmp_path / "noisy.wav", {"b": tmp_path / "clean.wav"}), 5.0, "opus")
    assert (clip.start_s, clip.seconds, clip.total_s) == pytest.approx((41, 5, 60), abs=0.2)
    assert all(soundfile.info(io.BytesIO(sound)).format == "OGG" for sound in clip.sounds)


def test_unusable_files_are_reported(folders: Path, tmp_path: Path) -> None:
    write(tmp_path / "noisy" / "a.wav", voice(1))
    write(tmp_path / "noisy" / "b.wav", voice(2))
    write(tmp_path / "clean" / "b.wav", voice(2))
    (tmp_path / "clean" / "a.wav").write_bytes(b"nothing")
    made = listening_page(tmp_path / "noisy", tmp_path / "clean", tmp_path / "page.html")
    assert made.files == ("b.wav",)
    assert any(note.startswith("a.wav: ") for note in made.notes)
    with pytest.raises(OptionError, match="at least one"):
        listening_page(folders / "noisy" / "talk 1.wav", [], tmp_path / "page.html")


def test_page_in_a_browser(window: Any, compared: Path) -> None:
    open_page(window, compared)
    names = [element.text for element in window.find_elements("css selector", "#file-list .name")]
    assert len(names) == 12
    assert f"{SCRIPT}.wav" in names
    press(window, "l", " ")
    wait(window, "return listening.player.playing && listening.player.position() > 0.2")
    # Switching continues at the same moment.
    before, heard, after, passed = window.execute_script(
        "const began = performance.now(), before = listening.player.position();"
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '3', bubbles: true}));"
        "return [before, listening.player.heard, listening.player.position(), (performance.now() - began) / 1000];"
    )
    assert heard == 2
    assert abs(after - before - passed) < 0.05
    gains = "listening.player.running.strands.map(({gain}) => gain.gain.value > 0)"
    wait(window, f"return {gains}.join() === 'false,false,true,false'")
    press(window, " ")
    wait(window, "return !listening.player.playing")
    press(window, "2", "m", "+")
    state = window.execute_script(
        "const {player, state} = listening; return [player.heard, player.loop !== null, state.matched, state.view]"
    )
    assert state[:3] == [1, True, False]
    assert state[3][1] - state[3][0] == pytest.approx(1.0, abs=0.01)
    file = window.execute_script("return listening.state.file")
    press(window, "\ue015")  # arrow down
    wait(window, f"return listening.state.file === {file + 1} && listening.player.duration > 0")
    requested = window.execute_script("return performance.getEntriesByType('resource').map(({name}) => name)")
    assert [name for name in requested if not name.startswith(("file:", "data:"))] == []
    assert errors(window) == []


def test_switching_is_gapless(window: Any, compared: Path) -> None:
    open_page(window, compared)
    peak, difference, steps = window.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        (async () => {
          const rate = 16000, length = 16000, at = 8000;
          const run = async (first, second) => {
            const context = new OfflineAudioContext(1, length, rate);
            const buffers = [first, second].map((value) => {
              const buffer = new AudioBuffer({ length, sampleRate: rate });
              buffer.getChannelData(0).forEach((_, k, data) => { data[k] = value(k); });
              return buffer;
            });
            const lockstep = new listening.Lockstep(context, buffers, [1, 1], 0);
            lockstep.start(0, 0, null);
            context.suspend(at / rate).then(() => {
              lockstep.select(1, context.currentTime);
              context.resume();
            });
            return (await context.startRendering()).getChannelData(0);
          };
          const sine = (k) => 0.5 * Math.sin(2 * Math.PI * 440 * k / 16000);
          const same = await run(sine, sine);
          let difference = 0, peak = 0;
          for (let k = 200; k < length; k++) difference = Math.max(difference, Math.abs(same[k] - sine(k)));
          const moved = await run(() => 0.2, () => 0.6);
          let steps = 0;
          for (let k = 200; k < length; k++) {
            steps = Math.max(steps, Math.abs(moved[k] - moved[k - 1]));
            peak = Math.max(peak, moved[k]);
          }
          done([peak, difference, steps]);
        })();
        """
    )
    assert difference < 1e-3  # the common part of both versions passes unchanged
    assert peak == pytest.approx(0.6, abs=1e-3)
    assert steps < 0.4 / 100  # the change takes 8 ms and not a sample


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_page_has_no_horizontal_scrolling(window: Any, compared: Path, size: tuple[int, int]) -> None:
    open_page(window, compared, size)
    width = "return document.documentElement.scrollWidth"
    assert window.execute_script(width) <= size[0]
    for method in ("rating", "preference", "abx"):
        click(window, "#mode-blind")
        click(window, f"input[value={method}]")
        click(window, ".blind button[type=submit]")
        wait(window, "return listening.state.blind.step === 'trial'")
        assert window.execute_script(width) <= size[0]
        narrow = "[...document.querySelectorAll('.blind button')].filter((it) => it.scrollWidth > it.clientWidth)"
        assert window.execute_script(f"return {narrow}.map((it) => it.textContent)") == []
    assert not window.find_element("css selector", "#matched").is_displayed()
    small = window.execute_script(
        "return [...document.querySelectorAll('button')].filter((it) => it.offsetHeight && it.offsetHeight < 36)"
        ".map((it) => it.textContent)"
    )
    assert small == []
    assert errors(window) == []


def test_page_as_a_folder(window: Any, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MAX_PAGE_BYTES", 1000)
    made = listening_page(folders / "noisy", folders / "ours", folders / "large.html", options=ListenOptions(files=2))
    assert made.path == folders / "large" / "index.html"
    assert not (folders / "large.html").exists()
    assert made.size == sum(path.stat().st_size for path in (folders / "large").rglob("*") if path.is_file())
    open_page(window, made.path)
    press(window, "\ue015")
    wait(window, "return listening.state.file === 1 && listening.player.duration > 1.9")
    assert errors(window) == []


def answer_all(window: Any, method: str, answer: Callable[[int], str]) -> None:
    click(window, "#mode-blind")
    click(window, f"input[value={method}]")
    window.find_element("name", "listener").send_keys("=Ann")
    click(window, ".blind button[type=submit]")
    for trial in range(12):
        wait(window, f"return listening.state.blind.step === 'trial' && listening.state.blind.at === {trial}")
        wait(window, "return document.querySelector('[data-answer], .blind input[type=range]') !== null")
        window.execute_script(answer(trial))
    wait(window, "return listening.state.blind.step === 'done'")


def saved(window: Any, downloads: Path, name: str, kind: str) -> Path:
    path = downloads / f"{name}.{kind}"
    path.unlink(missing_ok=True)
    click(window, f"#save-{kind}")
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, "not saved"
        time.sleep(0.02)
    return path


def test_abx(window: Any, compared: Path, downloads: Path) -> None:
    open_page(window, compared)
    right = (
        "const {blind} = listening.state, [a, b, x] = blind.trials[blind.at].order;"
        "document.querySelector(`[data-answer=${x === %s ? 'A' : 'B'}]`).click();"
    )
    answer_all(window, "abx", lambda trial: right % ("a" if trial else "b"))  # the first answer is wrong
    table = saved(window, downloads, "listening-abx-_Ann", "csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert len(rows) == len({row["file"] for row in rows}) == 12
    assert {row["listener"] for row in rows} == {"'=Ann"}
    assert [row["correct"] for row in rows] == ["false"] + 11 * ["true"]
    assert all((row["chosen"] == row["x"]) == (row["correct"] == "true") for row in rows)
    assert all({row["a"], row["b"]} == {"ours", "theirs"} for row in rows)
    (found,) = collect_results([saved(window, downloads, "listening-abx-_Ann", "json")]).abx
    assert (found.correct, found.answers, found.listeners) == (11, 12, 1)
    assert found.p_value == pytest.approx(13 / 4096)
    assert errors(window) == []


def test_rating(window: Any, compared: Path, downloads: Path) -> None:
    open_page(window, compared)
    rate = (
        "const {blind} = listening.state, sliders = [...document.querySelectorAll('.rating input')];"
        "blind.trials[blind.at].order.forEach((version, place) => {"
        "  sliders[place].value = [10, 60, 40, 95][version];"
        "  sliders[place].dispatchEvent(new Event('input')); });"
        "document.querySelector('.card .primary').click();"
    )
    answer_all(window, "rating", lambda _: rate)
    results = collect_results([saved(window, downloads, "listening-rating-_Ann", "json")])
    means = [(it.system, it.mean, it.answers) for it in results.ratings]
    assert means == [("Reference", 95, 12), ("ours", 60, 12), ("theirs", 40, 12), ("Noisy", 10, 12)]
    assert errors(window) == []


def test_preference(window: Any, compared: Path, downloads: Path) -> None:
    open_page(window, compared)
    prefer = (
        "const {blind} = listening.state; const a = blind.trials[blind.at].order[0];"
        "document.querySelector(`[data-answer=${%s}]`).click();"
    )
    answer_all(window, "preference", lambda trial: prefer % ("a === 1 ? 'A' : 'B'" if trial > 1 else "'none'"))
    (found,) = collect_results([saved(window, downloads, "listening-preference-_Ann", "json")]).preferences
    assert (found.system, found.other) == ("ours", "theirs")
    assert (found.preferred, found.other_preferred, found.undecided) == (10, 0, 2)
    assert found.share == pytest.approx(11 / 12)
    assert found.p_value == pytest.approx(2 / 1024)


def test_pages_of_score_and_enhance(folders: Path, tmp_path: Path, tiny_model_file: Path) -> None:
    page, noisy, ours = tmp_path / "score.html", str(folders / "noisy"), str(folders / "ours")
    scores = ["--metrics", "si_snr", "--no-cache", "-j", "1", "-q"]
    command = ["score", "--ref", str(folders / "clean"), "--est", ours, "--noisy", noisy, *scores]
    assert CliRunner().invoke(app, [*command, "--listen", str(page)]).exit_code == 0
    data = data_of(page)
    assert len(data["files"]) == 12
    assert all("si_snr" in file["versions"][1]["scores"] for file in data["files"])
    refused = CliRunner().invoke(app, ["score", "--ref", noisy, "--est", ours, "--listen", str(page)])
    assert refused.exit_code == 2
    page, source = tmp_path / "enhance.html", str(folders / "noisy" / "talk 1.wav")
    options = ["-o", str(tmp_path / "out"), "--model", str(tiny_model_file), "--listen", str(page)]
    assert CliRunner().invoke(app, ["enhance", source, *options]).exit_code == 0
    (file,) = data_of(page)["files"]
    assert file["name"] == "talk 1.wav"
    assert [version["kind"] for version in file["versions"]] == ["noisy", "system"]
