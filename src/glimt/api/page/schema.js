// JSON Schemas of the API's description as lists of fields, opened as far as somebody looks.

import { inline, make } from "./markdown.js";

const PREFIX = "#/components/schemas/";

/** The schemas of one document. */
export class Schemas {
  constructor(document) {
    this.components = document.components.schemas;
  }

  /** What a schema refers to, and itself where it refers to nothing. */
  resolve(schema) {
    return schema.$ref ? this.components[schema.$ref.slice(PREFIX.length)] : schema;
  }

  /** What a schema allows, in few words. */
  words(schema) {
    if (schema.anyOf) {
      const kinds = schema.anyOf.filter((one) => one.type !== "null").map((one) => this.words(one));
      return [...new Set(kinds)].join(" or ");
    }
    if (schema.enum) return schema.enum.map((word) => JSON.stringify(word)).join(" | ");
    if (schema.$ref) return "object";
    switch (schema.type) {
      case "array": return `list of ${this.words(schema.items ?? {}).replace(/^(object|integer|number)$/, "$1s")}`;
      case "string": return "text";
      case "boolean": return "true or false";
      case "integer":
      case "number": return schema.type + range(schema);
      case "object": return "object";
      default: return "anything";
    }
  }

  /** The objects inside of a schema that have fields of their own. */
  objects(schema) {
    const found = this.resolve(schema);
    if (found.properties) return Object.keys(found.properties).length > 0 ? [found] : [];
    const inner = [...(found.anyOf ?? []), found.items, found.additionalProperties];
    return inner.filter((one) => one && typeof one === "object").flatMap((one) => this.objects(one));
  }

  /** The fields of everything that a schema allows. */
  fields(schema) {
    const objects = this.objects(schema);
    if (objects.length === 0) return make("p", { class: "quiet" }, this.words(this.resolve(schema)));
    if (objects.length === 1) return this.list(objects[0]);
    return make("div", {}, objects.map((object) => this.closed(object, object.title)));
  }

  list(object) {
    const required = new Set(object.required ?? []);
    const names = Object.keys(object.properties);
    names.sort((a, b) => required.has(b) - required.has(a));
    return make("ul", { class: "fields" }, names.map((name) => {
      const field = object.properties[name];
      const about = field.description ?? "";
      return make("li", {},
        make("div", { class: "head" },
          make("span", { class: "name" }, name),
          make("span", { class: "type" }, this.words(field)),
          required.has(name) ? make("span", { class: "required" }, "required") : ""),
        about ? make("p", {}, inline(about)) : "",
        this.inside(field));
    }));
  }

  /** What a field holds, closed. One kind of object needs no name, several do. */
  inside(field) {
    const objects = this.objects(field);
    return objects.map((object) => {
      const number = Object.keys(object.properties).length;
      const fields = number === 1 ? "1 field" : `${number} fields`;
      return this.closed(object, objects.length === 1 ? fields : object.title);
    });
  }

  /** Fields that are made when they are first looked at; a type may hold itself. */
  closed(object, title) {
    const body = make("div", { class: "body" });
    const details = make("details", { class: "inner" }, make("summary", {}, title), body);
    details.addEventListener("toggle", () => {
      if (body.childElementCount > 0) return;
      if (object.description) body.append(make("p", { class: "quiet" }, inline(object.description)));
      body.append(this.list(object));
    });
    return details;
  }
}

function range(schema) {
  if (schema.exclusiveMinimum === 0) return ", more than 0";
  if (schema.minimum === undefined || Math.abs(schema.minimum) > 2 ** 32) return "";
  if (schema.maximum === undefined) return `, at least ${schema.minimum}`;
  return `, ${schema.minimum} to ${schema.maximum}`;
}
