// The Markdown of our own texts as elements: headings, paragraphs, lists, tables, code, links.
// Everything becomes text nodes: nothing of a text is ever read as HTML.

/** An element with attributes and children; strings become text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== ""));
  return element;
}

/** A block of code that can be copied. */
export function code(text) {
  const button = make("button", { class: "copy", type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text)) ? "Copied" : "Select and copy";
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
  return make("div", { class: "code" }, make("pre", { tabindex: "0" }, text), button);
}

/** Whether the text is on the clipboard now; away from localhost, browsers ask for https. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = make("textarea", { readonly: true });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[((?:[^\]`]|`[^`]*`)+)\]\(([^)\s]+)\)|<?(https?:\/\/[^\s<>)`]+[^\s<>)`.,;:])>?/g;

const SHORT = 32; // Code of fewer characters is not broken at its hyphens.

/** A line of text as nodes. `follow` turns a link's target into an address, or into nothing. */
export function inline(text, follow = (target) => target) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, mono, bold, slanted, label, target, bare] = found;
    nodes.push(text.slice(from, found.index));
    from = found.index + whole.length;
    if (mono !== undefined) nodes.push(make("code", { class: mono.length < SHORT && "short" }, mono));
    else if (bold !== undefined) nodes.push(make("strong", {}, inline(bold, follow)));
    else if (slanted !== undefined) nodes.push(make("em", {}, inline(slanted, follow)));
    else {
      const href = follow(target ?? bare);
      const words = label === undefined ? [bare] : inline(label, follow);
      nodes.push(href === undefined ? make("span", {}, words) : make("a", { href }, words));
    }
  }
  nodes.push(text.slice(from));
  return nodes;
}

/** The name by which a heading is linked to. */
export function anchor(text) {
  return text.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s+/g, "-");
}

/** A whole text as elements. */
export function render(markdown, follow) {
  const lines = markdown.replace(/<!--[\s\S]*?-->/g, "").split("\n");
  const elements = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const heading = line.match(/^(#{1,4}) (.*)$/);
    if (line.startsWith("```")) {
      const end = lines.findIndex((other, index) => index > at && other.startsWith("```"));
      const last = end < 0 ? lines.length : end;
      elements.push(code(lines.slice(at + 1, last).join("\n")));
      at = last + 1;
    } else if (heading) {
      elements.push(make(`h${heading[1].length}`, { id: anchor(heading[2]) }, inline(heading[2], follow)));
      at += 1;
    } else if (line.startsWith("|")) {
      const end = endOf(lines, at, (other) => other.startsWith("|"));
      elements.push(table(lines.slice(at, end), follow));
      at = end;
    } else if (/^(\*|-|\d+\.) /.test(line)) {
      const end = endOf(lines, at, (other) => /^(\*|-|\d+\.|  ) /.test(other) || /^ {2,}\S/.test(other));
      elements.push(list(lines.slice(at, end), follow));
      at = end;
    } else if (line.trim() === "") {
      at += 1;
    } else {
      const end = endOf(lines, at, (other) => other.trim() !== "" && !/^(```|#{1,4} |\||(\*|-|\d+\.) )/.test(other));
      elements.push(make("p", {}, inline(lines.slice(at, Math.max(end, at + 1)).join("\n"), follow)));
      at = Math.max(end, at + 1);
    }
  }
  return elements;
}

function endOf(lines, at, belongs) {
  let end = at;
  while (end < lines.length && belongs(lines[end])) end += 1;
  return end;
}

function list(lines, follow) {
  const items = [];
  for (const line of lines) {
    const found = line.match(/^(?:\*|-|\d+\.) (.*)$/);
    if (found) items.push(found[1]);
    else items[items.length - 1] += `\n${line.trim()}`;
  }
  const tag = /^\d/.test(lines[0]) ? "ol" : "ul";
  return make(tag, {}, items.map((item) => make("li", {}, inline(item, follow))));
}

function table(lines, follow) {
  const rows = lines.map((line) => cells(line));
  const row = (tag, found) => make("tr", {}, found.map((cell) => make(tag, {}, inline(cell, follow))));
  return make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, row("th", rows[0])),
    make("tbody", {}, rows.slice(2).map((found) => row("td", found)))));
}

/** The cells of a row; a bar inside of code or behind a backslash is text. */
function cells(line) {
  const found = [];
  let cell = "";
  let inCode = false;
  for (let at = 1; at < line.length; at += 1) {
    const character = line[at];
    if (character === "\\" && line[at + 1] === "|") {
      cell += "|";
      at += 1;
    } else if (character === "|" && !inCode) {
      found.push(cell.trim());
      cell = "";
    } else {
      if (character === "`") inCode = !inCode;
      cell += character;
    }
  }
  return found;
}
