// Elements of the page.

export function element(tag, className, text, attributes = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Changes only what differs: a screen reader announces each change, and each is painted.
export function write(into, text) {
  if (into.textContent !== text) into.textContent = text;
}
