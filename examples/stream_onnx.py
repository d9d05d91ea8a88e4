"""Enhances a mono 16 kHz WAV file block by block with an exported model, without torch or dccrn.

dccrn export dccrn -o model.onnx
python stream_onnx.py model.onnx noisy.wav clean.wav
"""

import sys

import numpy as np
import onnxruntime
import soundfile

model, noisy, clean = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
about = session.get_modelmeta().custom_metadata_map
block, latency = int(about["block_samples"]), int(about["latency_samples"])

# The states that the network keeps between blocks are all zeros at the start of a signal.
state = {
    entry.name: np.zeros(entry.shape, np.int64 if entry.type == "tensor(int64)" else np.float32)
    for entry in session.get_inputs()[2:]
}
with soundfile.SoundFile(noisy) as source:
    assert (source.samplerate, source.channels) == (int(about["sample_rate"]), 1), "the file must be 16 kHz mono"
    length = source.frames  # for live audio 1 << 62, until the last block
    with soundfile.SoundFile(clean, "w", source.samplerate, 1, source.subtype) as target:
        for start in range(0, length + latency, block):
            samples = source.read(block, dtype="float32", fill_value=0.0)  # zero-padded after the end
            enhanced, gain, *after = session.run(
                None, {"samples": samples[None], "length": np.array([length]), **state}
            )
            state = dict(zip(state, after, strict=True))
            # The first `latency` output samples precede the signal.
            target.write(enhanced[0, max(latency - start, 0) : max(latency - start + length, 0)])
