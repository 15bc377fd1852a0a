#!/usr/bin/env python3
"""Looks at reports in a browser: nothing overflows, overlaps, is cut off or blank.

    tests/report_browser_test.py build/fulcrum [FOLDER FOR THE SCREENSHOTS]

Makes four run directories, lets fulcrum write the report of one and the comparison of all, and loads
both in a headless Chromium, 390 and 1280 pixels wide, in light and dark. A page around the report
measures it: the report itself has no script. Exit status: 0 right, 1 wrong, 77 no browser (skipped).
Needs nothing but Python's own library.
"""
import json
import math
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

CLASSES = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', '<script>alert(1)</script>', 'Shirt',
           'an extremely long name of a class', 'Bag', 'Ankle boot', 'Ünïcødé', '袋']
EPOCHS = 12

# Runs in the page around the report, and leaves a list of complaints as the title.
MEASURE = r'''
const wrong = [];
const frame = document.getElementById('report'), page = frame.contentDocument, root = page.documentElement;
const near = (inner, outer, by) => inner.left >= outer.left - by && inner.right <= outer.right + by &&
  inner.top >= outer.top - by && inner.bottom <= outer.bottom + by;
const text = e => e.textContent.slice(0, 30);
if (root.scrollWidth > frame.clientWidth) wrong.push(`page is ${root.scrollWidth} wide in ${frame.clientWidth}`);
const drawings = [...page.querySelectorAll('svg')];
if (drawings.length < 8) wrong.push(`only ${drawings.length} charts`);
for (const svg of drawings) {
  const name = svg.getAttribute('aria-label'), box = svg.getBoundingClientRect();
  if (!name) wrong.push('a chart without a description');
  if (box.width < 200 || box.height < 80) wrong.push(`${name}: ${box.width} x ${box.height}`);
  if (!svg.querySelector('polyline, circle, rect, .bar')) wrong.push(`${name}: no marks`);
  const labels = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
  const boxes = labels.map(t => t.getBoundingClientRect());
  labels.forEach((label, i) => {
    if (!near(boxes[i], box, 5)) wrong.push(`${name}: '${text(label)}' is cut off`);
    if (label.hasAttribute('transform')) return;
    for (let k = 0; k < i; k++) {
      if (labels[k].hasAttribute('transform')) continue;
      const dx = Math.min(boxes[i].right, boxes[k].right) - Math.max(boxes[i].left, boxes[k].left);
      const dy = Math.min(boxes[i].bottom, boxes[k].bottom) - Math.max(boxes[i].top, boxes[k].top);
      // The boxes are as high as a line, letters are lower.
      if (dx > 1 && dy > boxes[i].height * 0.4) wrong.push(`${name}: '${text(label)}' on '${text(labels[k])}'`);
    }
  });
}
for (const e of page.querySelectorAll('h1, h2, h3, p, dd, dt, figcaption, li, td, th')) {
  if (e.closest('.scroll') || e.closest('details')) continue;
  const box = e.getBoundingClientRect();
  if (box.right > frame.clientWidth + 1 || e.scrollWidth > e.clientWidth + 1 && e.clientWidth)
    wrong.push(`'${text(e)}' sticks out`);
}
for (const img of page.images) if (!img.naturalWidth || !img.alt) wrong.push('an image without pixels or words');
let level = 0;
for (const h of page.querySelectorAll('h1, h2, h3')) {
  if (h.tagName[1] > level + 1) wrong.push(`heading '${text(h)}' skips a level`);
  level = +h.tagName[1];
}
document.title = JSON.stringify({height: root.scrollHeight, wrong: wrong});
'''


def write_tensors(path, tensors, metadata):
    header, body = {'__metadata__': metadata}, b''
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {'dtype': dtype, 'shape': shape, 'data_offsets': [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(struct.pack('<Q', len(text)) + text + body)


def metrics_row(epoch, shift, lam, sizes):
    recall = [max(0.02, 0.95 - 0.07 * c + shift) for c in range(len(CLASSES))]
    k = (epoch + 1) / EPOCHS
    share = [n ** (0.7 + 0.2 * k) for n in sizes]
    test = {'top1': 0.3 + 0.4 * k + shift, 'top5': 0.95, 'balanced': 0.25 + 0.4 * k + shift, 'worst_class': min(recall),
            'many': 0.8, 'medium': 0.5 + 0.2 * k, 'few': 0.1 + 0.2 * k, 'loss': 2.2 - k, 'macro_f1': 0.5, 'ece': 0.06,
            'per_class': recall}
    return {'epoch': epoch, 'lr': 0.1 * (1 + math.cos(math.pi * k)) / 2, 'images_per_s': 950 + 30 * math.sin(epoch),
            'train': {'loss': 1.9 - 1.5 * k, 'top1': 0.4 + 0.5 * k, 'objective': 2.3 - 1.5 * k}, 'weight_sum': 0.98 + 0.02 * k,
            'effective_fraction': 0.9 + 0.05 * k, 'inv_lambda': 1 / lam, 'log_u': 0.4 - 0.3 * k, 'kl_objective': 2.1 - 1.5 * k,
            'class_weight_share': [s / sum(share) for s in share], 'test': test}


def write_run(run, seed, lam, shift):
    run.mkdir()
    draw = random.Random(seed)
    sizes = [int(3000 * 0.01 ** (c / (len(CLASSES) - 1))) for c in range(len(CLASSES))]
    (run / 'config.toml').write_text(f'[risk]\nname = "kl"\nlambda = {lam}\n[train]\nepochs = {EPOCHS}\nseed = {seed}\n')
    (run / 'metrics.jsonl').write_text(''.join(json.dumps(metrics_row(e, shift, lam, sizes)) + '\n' for e in range(EPOCHS)))
    (run / 'data.json').write_text(json.dumps({'name': 'clothes', 'classes': CLASSES, 'train_counts': sizes,
                                               'test_counts': [50] * len(CLASSES), 'image_shape': [12, 12, 3]}))
    (run / 'env.json').write_text(json.dumps({'device': 'cpu', 'command': 'fulcrum train ' + 'x' * 200}))
    ints, floats = lambda v: ('I64', [len(v)], struct.pack(f'<{len(v)}q', *v)), lambda v: ('F32', [len(v)], struct.pack(f'<{len(v)}f', *v))
    label = [i % len(CLASSES) for i in range(600)]
    guess = [y if draw.random() < 0.7 else draw.randrange(len(CLASSES)) for y in label]
    write_tensors(run / 'predictions.safetensors', {'label': ints(label), 'prediction': ints(guess),
                                                    'confidence': floats([draw.uniform(0.3, 1) for _ in label])}, {'epoch': str(EPOCHS - 1)})
    clean = [y if draw.random() < 0.8 else (y + 1) % len(CLASSES) for y in label]
    loss = [draw.expovariate(1) + 4 * (y != c) for y, c in zip(label, clean)]
    weight = [math.exp(x / lam) for x in loss]
    order = sorted(range(600), key=lambda i: weight[i])
    tensors = {'index': ints(list(range(600))), 'label': ints(label), 'clean_label': ints(clean), 'mean_weight': floats(weight),
               'weight': floats(weight), 'loss': floats(loss)}
    for which, chosen in (('smallest', order[:24]), ('largest', order[-24:])):
        tensors[which + '.index'] = ints(chosen)
        tensors[which + '.images'] = ('U8', [24, 12, 12, 3], draw.randbytes(24 * 12 * 12 * 3))
    write_tensors(run / 'samples.safetensors', tensors, {})


class Browser:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def run(self, report, width, height, dark, *flags):
        page = self.folder / 'around.html'
        page.write_text(f'<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"></head>'
                        f'<body style="margin:0"><iframe id="report" src="{report.as_uri()}" '
                        f'style="border:0;display:block;width:{width}px;height:{height}px"></iframe>'
                        f'<script>document.getElementById("report").onload = () => {{ {MEASURE} }}</script></body></html>')
        done = subprocess.run([self.program, '--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
                               '--allow-file-access-from-files', f'--user-data-dir={self.folder / "profile"}',
                               f'--blink-settings=preferredColorScheme={0 if dark else 1}',
                               f'--window-size={max(width, 500)},{height}', *flags, page.as_uri()],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120, check=True)
        return done.stdout.decode()

    def measure(self, report, width):
        import html
        dom = self.run(report, width, 800, False, '--dump-dom')
        return json.loads(html.unescape(dom.split('<title>')[1].split('</title>')[0]))

    def screenshot(self, report, width, height, dark, path, scale):
        self.run(report, width, height, dark, f'--screenshot={path}', f'--force-device-scale-factor={scale}')


def read_png(path):
    """Rows of pixels (tuples) of an 8-bit RGB or RGBA file."""
    data, at, packed = path.read_bytes(), 8, b''
    while at < len(data):
        size, kind = struct.unpack('>I4s', data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b'IHDR':
            width, height, _, colour = struct.unpack('>IIBB', body[:10])
        if kind == b'IDAT':
            packed += body
        at += 12 + size
    n = 3 if colour == 2 else 4
    raw, before, rows = zlib.decompress(packed), bytearray(width * n), []
    for y in range(height):
        start = y * (width * n + 1)
        line, filter_ = bytearray(raw[start + 1:start + 1 + width * n]), raw[start]
        for i in range(width * n if filter_ else 0):
            a, b, c = (line[i - n], before[i], before[i - n]) if i >= n else (0, before[i], 0)
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth)[filter_]) & 255
        before = line
        rows.append([tuple(line[x:x + 3]) for x in range(0, width * n, n)])
    return rows


def look_at(rows, width, dark):
    """Complaints: the wrong theme, or a stretch of the page with next to nothing on it."""
    wrong, paper = [], rows[1][1]
    if (sum(paper) < 200) != dark or (sum(paper) > 650) == dark:
        wrong.append(f'the paper has the colour {paper}')
    band = 600 // 4  # a quarter of the size, so 600 pixels of the page
    for y in range(0, len(rows) - band, band):
        pixels = [p for row in rows[y:y + band] for p in row[:width // 4]]
        if len(set(pixels)) < 12 or pixels.count(paper) > 0.995 * len(pixels):
            wrong.append(f'nothing between {4 * y} and {4 * (y + band)}')
    return wrong


def main():
    browser = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if not browser:
        print('skipped: no chromium, chromium-browser or google-chrome')
        return 77
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        kept = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else folder
        runs = [folder / name for name in ('plain-seed0', 'plain-seed1', 'weighted-seed0', 'weighted-seed1')]
        for k, run in enumerate(runs):
            write_run(run, k % 2, -1 if k < 2 else 5, 0.01 * k)
        one, several = folder / 'one.html', folder / 'several.html'
        for output, of in ((one, runs[:1]), (several, runs)):
            subprocess.run([sys.argv[1], 'report', *map(str, of), '--output', str(output)], check=True, stdout=subprocess.DEVNULL)
        failed, chromium = False, Browser(browser, folder)
        for report in (one, several):
            for width in (390, 1280):
                measured = chromium.measure(report, width)
                wrong = measured['wrong']
                for dark in (False, True):
                    path = kept / f'{report.stem}-{width}-{"dark" if dark else "light"}.png'
                    chromium.screenshot(report, width, measured['height'], dark, path, 0.25)
                    wrong += look_at(read_png(path), width, dark)
                    if kept != folder:
                        chromium.screenshot(report, width, measured['height'], dark, path, 1)
                for complaint in wrong:
                    print(f'{report.stem}, {width} pixels wide: {complaint}')
                failed |= bool(wrong)
        print('wrong' if failed else 'right: one run and several, 390 and 1280 pixels wide, light and dark')
        return int(failed)


if __name__ == '__main__':
    sys.exit(main())
