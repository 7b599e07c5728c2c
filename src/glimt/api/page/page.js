// The page at /docs: routes from /openapi.json, texts from /llms.txt, one view at a time.
// The address after # says which: nothing (all of it), an operation's id, or a text's path.

import { anchor, code, inline, make, render } from "./markdown.js";
import { Schemas } from "./schema.js";

const STREAM = "text/event-stream";
const main = document.getElementById("main");
const nav = document.getElementById("nav");
const contents = document.getElementById("contents");
const narrow = window.matchMedia("(max-width: 54rem)");

async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
  return answer;
}

/** Sections and their texts, as the list for language models has them. */
async function readTexts() {
  const sections = [];
  for (const line of (await (await get("/llms.txt")).text()).split("\n")) {
    const entry = line.match(/^- \[(.+?)\]\((\S+?)\): ?(.*)$/);
    if (line.startsWith("## ")) sections.push({ title: line.slice(3), texts: [] });
    else if (entry?.[2].endsWith(".md")) {
      sections.at(-1).texts.push({ title: entry[1], path: new URL(entry[2]).pathname, summary: entry[3] });
    }
  }
  return sections.filter((section) => section.texts.length > 0);
}

/** Every operation, in the order of the document. */
function readOperations(api) {
  return Object.entries(api.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })));
}

/** A path that breaks behind its slashes. */
function address(path) {
  const pieces = path.split(/(?<=\/)/).flatMap((piece) => [piece, make("wbr")]);
  return make("span", { class: "path" }, pieces);
}

function badge(method) {
  return make("span", { class: `method ${method.toLowerCase()}` }, method);
}

class Site {
  constructor(api, sections) {
    this.api = api;
    this.sections = sections;
    this.schemas = new Schemas(api);
    this.operations = readOperations(api);
    this.groups = api.tags.map((tag) => ({
      ...tag,
      operations: this.operations.filter((operation) => operation.tags.includes(tag.name)),
    }));
  }

  start() {
    document.getElementById("version").textContent = this.api.info.version;
    this.writeContents();
    contents.open = !narrow.matches;
    narrow.addEventListener("change", () => { contents.open = !narrow.matches; });
    window.addEventListener("hashchange", () => this.show(true));
    this.show(false);
  }

  writeContents() {
    const link = (href, ...words) => make("li", {}, make("a", { href }, ...words));
    for (const { title, texts } of this.sections.slice(0, 1)) this.#contentsOf(title, texts, link);
    for (const { name, operations } of this.groups) {
      nav.append(make("h2", {}, name), make("ul", {}, operations.map(({ operationId, method, path }) =>
        link(`#${operationId}`, badge(method), address(path)))));
    }
    for (const { title, texts } of this.sections.slice(1)) this.#contentsOf(title, texts, link);
  }

  #contentsOf(title, texts, link) {
    nav.append(make("h2", {}, title), make("ul", {}, texts.map((text) => link(`#${text.path}`, text.title))));
  }

  async show(moved) {
    const [wanted, place] = decodeURIComponent(location.hash.slice(1)).split("#");
    const operation = this.operations.find((one) => one.operationId === wanted);
    const isText = this.sections.some(({ texts }) => texts.some(({ path }) => path === wanted));
    let view = [];
    if (operation) view = this.operation(operation);
    else if (isText) view = await this.text(wanted);
    else if (wanted === "main") return;
    else view = this.overview();
    main.replaceChildren(...view);
    const title = main.querySelector("h1")?.textContent ?? "";
    document.title = title && title !== "Glimt" ? `${title} · Glimt` : "Glimt";
    for (const link of nav.querySelectorAll("a")) {
      const isHere = link.getAttribute("href") === `#${wanted}`;
      if (isHere) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!moved) return;
    if (narrow.matches) contents.open = false;
    window.scrollTo(0, 0);
    if (place) document.getElementById(place)?.scrollIntoView();
    else main.focus({ preventScroll: true });
  }

  overview() {
    const first = this.operations.find((one) => one.requestBody);
    return [
      make("h1", {}, "Glimt"),
      ...render(this.api.info.description),
      code(this.curl(first)),
      ...this.sections.slice(0, 1).map(({ texts }) => make("ul", { class: "cards" }, texts.map((text) =>
        make("li", {}, make("a", { href: `#${text.path}` },
          make("b", {}, text.title), make("span", {}, plain(text.summary))))))),
      ...this.groups.flatMap(({ name, description, operations }) => [
        make("h2", { id: anchor(name) }, name),
        make("p", { class: "quiet" }, inline(description)),
        make("ul", { class: "routes" }, operations.map((one) => make("li", {},
          make("a", { href: `#${one.operationId}` },
            badge(one.method), address(one.path),
            make("span", { class: "quiet" }, one.summary))))),
      ]),
    ];
  }

  async text(path) {
    const follow = (target) => {
      const url = new URL(target, new URL(path, location.origin));
      if (target.startsWith("#")) return `#${path}${target}`;
      if (url.origin !== location.origin) return url.protocol.startsWith("http") ? url.href : undefined;
      const known = this.sections.some(({ texts }) => texts.some((text) => text.path === url.pathname));
      return known ? `#${url.pathname}${url.hash}` : undefined;
    };
    const markdown = await (await get(path)).text();
    return [...render(markdown, follow), make("p", { class: "quiet" }, make("a", { href: path }, "This text as Markdown"))];
  }

  operation(operation) {
    const { parameters, requestBody, responses } = operation;
    const view = [
      make("h1", {}, operation.summary),
      make("div", { class: "where" }, badge(operation.method), address(operation.path)),
      ...(operation.description ? render(operation.description) : []),
      code(this.curl(operation)),
      make("h2", {}, "Parameters"),
      this.parameters(parameters),
    ];
    if (requestBody) {
      const schema = requestBody.content["application/json"].schema;
      const about = this.schemas.resolve(schema).description;
      view.push(make("h2", {}, "Body"), make("p", { class: "quiet" }, inline(about)), this.schemas.fields(schema));
    }
    view.push(...this.answer(responses[200].content));
    const failures = Object.entries(responses).filter(([status]) => status !== "200");
    if (failures.length > 0) view.push(...this.failures(failures));
    return view;
  }

  parameters(parameters) {
    return make("ul", { class: "fields" }, parameters.map((parameter) => make("li", {},
      make("div", { class: "head" },
        make("span", { class: "name" }, parameter.name),
        make("span", { class: "type" }, `${parameter.in}, ${this.schemas.words(parameter.schema)}`),
        parameter.required ? make("span", { class: "required" }, "required") : ""),
      make("p", {}, inline(parameter.description)))));
  }

  answer(content) {
    const view = [];
    for (const [kind, { schema }] of Object.entries(content)) {
      if (kind !== STREAM) {
        view.push(make("h2", {}, "Answer"), make("p", { class: "quiet" }, make("code", {}, kind)));
        if (kind === "application/json") view.push(this.schemas.fields(schema));
        continue;
      }
      const events = (schema.anyOf ?? [schema]).map(({ properties }) => properties);
      view.push(make("h2", {}, "Stream"), make("p", { class: "quiet" }, inline(schema.description)));
      view.push(make("ul", { class: "fields" }, events.map(({ event, data }) => make("li", {},
        make("div", { class: "head" },
          make("span", { class: "name" }, event.const === "message" ? "data" : event.const),
          make("span", { class: "type" }, data.const ?? (event.const === "message" ? "events without a name" : "event"))),
        this.schemas.objects(data.contentSchema ?? {}).map((object) => this.schemas.closed(object, object.title))))));
    }
    return view;
  }

  failures(failures) {
    const rows = failures.map(([status, { description }]) => make("tr", {},
      make("td", {}, make("code", {}, status)), make("td", {}, inline(description))));
    const kinds = new Map();
    for (const [, { content }] of failures) {
      const schema = content?.["application/json"]?.schema;
      for (const object of schema ? this.schemas.objects(schema) : []) kinds.set(object.title, object);
    }
    return [
      make("h2", {}, "Other answers"),
      make("div", { class: "scroll" }, make("table", {}, make("tbody", {}, rows))),
      ...[...kinds].map(([title, object]) => this.schemas.closed(object, title)),
    ];
  }

  /** A command that can be pasted as it is, with this server's address. */
  curl(operation) {
    const example = (name) => operation.parameters.find((one) => one.name === name)?.example;
    const path = operation.path.replace(/\{(\w+)\}/g, (_, name) => example(name) ?? name);
    const parts = [`curl ${location.origin}${path}`];
    if (!["GET", "POST"].includes(operation.method)) parts[0] = `curl -X ${operation.method} ${location.origin}${path}`;
    const needsKey = !operation.security && this.api.security.every((one) => Object.keys(one).length);
    if (needsKey) parts.push("-H \"authorization: Bearer $GLIMT_API_KEY\"");
    for (const parameter of operation.parameters) {
      if (parameter.in === "header" && parameter.required) parts.push(`-H '${parameter.name}: ${parameter.example}'`);
    }
    const body = operation.requestBody?.content["application/json"].example;
    if (body) {
      parts.push("-H 'content-type: application/json'");
      parts.push(`-d '${JSON.stringify(body, null, 2).replaceAll("'", "'\\''")}'`);
    }
    return parts.join(" \\\n  ");
  }
}

/** A line of Markdown without its marks. */
function plain(text) {
  return text.replaceAll("`", "");
}

try {
  const [api, sections] = await Promise.all([get("/openapi.json").then((answer) => answer.json()), readTexts()]);
  new Site(api, sections).start();
} catch (error) {
  main.replaceChildren(make("h1", {}, "The description could not be read"), make("p", {}, String(error)));
}
