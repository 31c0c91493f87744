// The page of one reader. Answers are kept in the browser until they are saved.
"use strict";

const study = JSON.parse(document.getElementById("study").textContent);
const storageKey = `synthct_reader_study:${study.kit}:${study.reader}`;
const element = (id) => document.getElementById(id);

// --- state ---------------------------------------------------------------------------

let answers = load();
let started = false;
let current; // the answer in progress
let windowIndex = 0;
let slice = 0;
let wheel = 0; // distance since the last slice
let counted = performance.now(); // until when seconds are counted
let isSeen = !document.hidden; // since then

const WHEEL_STEP = 40; // pixels; touchpads send many small ones

function load() {
  try {
    return JSON.parse(localStorage.getItem(storageKey)) || [];
  } catch {
    element("unkept").hidden = false;
    return [];
  }
}

function keep() {
  try {
    localStorage.setItem(storageKey, JSON.stringify(answers));
  } catch {
    element("unkept").hidden = false;
  }
}

const isDone = () => answers.length === study.trials.length;

// --- images --------------------------------------------------------------------------

/** Decode the little-endian int16 HU of an image: slices x size x size. */
function decode(index) {
  const text = atob(element(`image-${index}`).textContent.trim());
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Int16Array.from({ length: bytes.length / 2 }, (_, i) => view.getInt16(2 * i, true));
}

function draw() {
  const { low, high } = study.windows[windowIndex];
  const pixels = study.size * study.size;
  current.images.forEach((hu, side) => {
    const canvas = element(`canvas-${side}`);
    const context = canvas.getContext("2d");
    const image = context.createImageData(study.size, study.size);
    for (let i = 0; i < pixels; i++) {
      const grey = (255 * (hu[slice * pixels + i] - low)) / (high - low);
      image.data.fill(Math.round(grey < 0 ? 0 : grey > 255 ? 255 : grey), 4 * i, 4 * i + 3);
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    const mark = current.mark;
    if (mark && mark.image === side && mark.slice === slice) {
      context.strokeStyle = "#ffd24a";
      context.lineWidth = Math.max(1, study.size / 160);
      context.beginPath();
      context.arc(mark.column + 0.5, mark.row + 0.5, study.size / 30, 0, 2 * Math.PI);
      context.stroke();
    }
  });
  element("slice").value = slice;
  element("slice-text").textContent = `slice ${slice + 1} of ${study.slices}`;
  for (const [i, button] of [...element("windows").children].entries()) {
    button.setAttribute("aria-pressed", i === windowIndex);
  }
}

// --- one trial -----------------------------------------------------------------------

function showTrial() {
  element("start").hidden = true;
  element("trial").hidden = isDone();
  element("end").hidden = !isDone();
  element("bar").style.width = `${(100 * answers.length) / study.trials.length}%`;
  if (isDone()) {
    element("progress").textContent = "All done";
    element("timer").textContent = "";
    element("save-part").hidden = true;
    return;
  }
  const trial = study.trials[answers.length];
  current = { images: trial.images.map(decode), answer: null, confidence: null, mark: null };
  current.seconds = 0;
  slice = Math.floor(study.slices / 2);
  windowIndex = 0;
  element("progress").textContent = `${answers.length + 1} of ${study.trials.length}`;
  draw();
  showChoices();
  counted = performance.now();
}

function showChoices() {
  for (const button of element("answers").children) {
    button.setAttribute("aria-pressed", button.value === current.answer);
  }
  for (const button of element("confidence").children) {
    button.setAttribute("aria-pressed", Number(button.value) === current.confidence);
  }
  element("next").disabled = !(current.answer && current.confidence);
  element("unmark").disabled = !current.mark;
}

function next() {
  if (element("next").disabled) return;
  if (load().length > answers.length) {
    // Another tab with this page has gone on: its answers stay, and this one follows.
    location.reload();
    return;
  }
  countSeconds();
  const { answer, confidence, mark, seconds } = current;
  const trial = study.trials[answers.length].name;
  answers.push({ trial, answer, confidence, seconds: Math.round(10 * seconds) / 10, mark });
  keep();
  showTrial();
}

function choose(field, value) {
  current[field] = value;
  showChoices();
  if (field === "mark") draw();
}

function scroll(step) {
  slice = Math.min(Math.max(slice + step, 0), study.slices - 1);
  draw();
}

function setWindow(index) {
  windowIndex = index % study.windows.length;
  draw();
}

/** Add the time since the last call, if the page was seen. */
function countSeconds() {
  const now = performance.now();
  if (isSeen && started && !isDone()) {
    current.seconds += (now - counted) / 1000;
    element("timer").textContent = `${Math.floor(current.seconds)} s`;
  }
  counted = now;
  isSeen = !document.hidden;
}

setInterval(countSeconds, 100);
document.addEventListener("visibilitychange", countSeconds);

// --- saving --------------------------------------------------------------------------

function save() {
  const { kit, reader, design } = study;
  const content = { kit, reader, design, complete: isDone(), answers };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(
    new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }),
  );
  link.download = `answers_${kit}_reader_${reader}.json`;
  link.click();
  element("saved").textContent = `${link.download}: ${answers.length} answers, saved to your downloads.`;
}

// --- keys and mouse ------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isOpen = started && !isDone();
  const actions = {
    ArrowLeft: () => isOpen && choose("answer", study.answers[0]),
    ArrowRight: () => isOpen && choose("answer", study.answers[1]),
    ArrowUp: () => isOpen && scroll(1),
    ArrowDown: () => isOpen && scroll(-1),
    w: () => isOpen && setWindow(windowIndex + 1),
    x: () => isOpen && choose("mark", null),
    Enter: () => (started ? isOpen && next() : start()),
    s: () => isDone() && save(),
  };
  let action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (isOpen && /^[1-5]$/.test(event.key)) {
    action = () => choose("confidence", Number(event.key));
  }
  if (!action) return;
  event.preventDefault();
  if (!event.repeat || event.key === "ArrowUp" || event.key === "ArrowDown") action();
});

function start() {
  started = true;
  showTrial();
}

/** Let a button act on a click, and leave the keys to the page. */
function onClick(button, action) {
  button.addEventListener("click", () => {
    button.blur();
    action();
  });
}

onClick(element("begin"), start);
onClick(element("next"), next);
onClick(element("save"), save);
onClick(element("save-part"), save);
onClick(element("unmark"), () => choose("mark", null));
for (const button of element("answers").children) {
  onClick(button, () => choose("answer", button.value));
}
for (const button of element("confidence").children) {
  onClick(button, () => choose("confidence", Number(button.value)));
}
for (const [i, button] of [...element("windows").children].entries()) {
  onClick(button, () => setWindow(i));
}
element("slice").addEventListener("input", (event) => {
  slice = Number(event.target.value);
  draw();
});
for (const [side, canvas] of [...document.querySelectorAll("canvas")].entries()) {
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * study.size);
    const column = Math.floor(((event.clientX - box.left) / box.width) * study.size);
    choose("mark", { image: side, slice, row, column });
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    wheel += event.deltaY;
    if (Math.abs(wheel) < WHEEL_STEP) return;
    scroll(wheel < 0 ? 1 : -1);
    wheel = 0;
  }, { passive: false });
}

if (answers.length) {
  element("begin").textContent = `Go on with ${answers.length + 1} of ${study.trials.length} (Enter)`;
  element("progress").textContent = `${answers.length} of ${study.trials.length} answered`;
}
if (isDone()) start();
