// As much of a browser's document as the panel's elements need: a tree with attributes, text and a place to scroll.

class Node {
  constructor(tag) {
    Object.assign(this, { tag, attributes: {}, children: [], dataset: {}, style: {}, hidden: false, parent: null, own: "" });
    Object.assign(this, { scrollTop: 0, scrollHeight: 0, clientHeight: 0, className: "" });
  }

  get textContent() { return this.own + this.children.map((child) => child.textContent).join(""); }
  set textContent(text) { this.children = []; this.own = text; }
  get childNodes() { return this.children; }
  get firstChild() { return this.children[0]; }
  setAttribute(name, value) { this.attributes[name] = value; }
  getAttribute(name) { return this.attributes[name]; }
  append(...nodes) { nodes.forEach((node) => this.appendChild(node)); }
  prepend(...nodes) { this.children.unshift(...nodes); nodes.forEach((node) => { node.parent = this; }); }
  replaceChildren(...nodes) { this.children = []; this.append(...nodes); }
  remove() { this.parent.children.splice(this.parent.children.indexOf(this), 1); }

  appendChild(node) {
    const made = typeof node === "string" ? Object.assign(new Node("#text"), { own: node }) : node;
    made.parent = this;
    this.children.push(made);
    return made;
  }
}

globalThis.document = { createElement: (tag) => new Node(tag), createElementNS: (_, tag) => new Node(tag) };
