// Small things that every part of the page needs. Text from the robot only becomes textContent.

export const $ = (id) => document.getElementById(id);

export function text(target, value) {
  const element = typeof target === "string" ? $(target) : target;
  if (element.textContent !== value) element.textContent = value;
}

// An element with properties and children; `dataset` and `style` take objects.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "dataset" || name === "style") Object.assign(element[name], value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

const missing = (value) => value === null || value === undefined;
export const unit = (value, digits, name) => (missing(value) ? "–" : `${value.toFixed(digits)} ${name}`.trim());
export const milliseconds = (seconds) => (missing(seconds) ? "–" : `${(seconds * 1000).toFixed(0)} ms`);
export const gigabytes = (bytes) => (bytes ? `${(bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 0)} GB` : "–");
