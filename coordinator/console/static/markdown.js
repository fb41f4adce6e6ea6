// A small part of Markdown as DOM nodes: paragraphs, headings, lists, quotes, fenced code, `code`, **strong**, *emphasis*,
// links to http(s). Text becomes text nodes only: no markup of a model ever reaches an HTML parser. parse() is pure.

const MAX_DEPTH = 4; // of emphasis within emphasis

// -> [{kind: "p"|"h"|"ul"|"ol"|"quote"|"code"|"hr", ...}]
export function parse(text) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const blocks = [];
  let i = 0;
  while (i < lines.length) {
    const line = lines[i];
    const fence = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/.exec(line);
    if (fence) {
      const code = [];
      for (i++; i < lines.length && !lines[i].trim().startsWith(fence[1]); i++) code.push(lines[i]);
      i++; // the closing fence, or past the end while it is still being written
      blocks.push({ kind: "code", language: fence[2], text: code.join("\n") });
      continue;
    }
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    if (heading) {
      blocks.push({ kind: "h", level: heading[1].length, text: heading[2] });
      i++;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      blocks.push({ kind: "hr" });
      i++;
    } else if (/^\s*>/.test(line)) {
      const quoted = [];
      for (; i < lines.length && /^\s*>/.test(lines[i]); i++) quoted.push(lines[i].replace(/^\s*> ?/, ""));
      blocks.push({ kind: "quote", text: quoted.join("\n") });
    } else if (itemOf(line)) {
      const first = itemOf(line);
      const items = [];
      let item;
      for (; i < lines.length; i++) {
        item = itemOf(lines[i]);
        if (item && item.ordered === first.ordered) items.push(item.text);
        else if (items.length && /^\s{2,}\S/.test(lines[i])) items[items.length - 1] += "\n" + lines[i].trim();
        else break;
      }
      blocks.push({ kind: first.ordered ? "ol" : "ul", start: first.number, items });
    } else if (line.trim() === "") {
      i++;
    } else {
      const paragraph = [];
      for (; i < lines.length && lines[i].trim() !== "" && !startsBlock(lines[i]); i++) paragraph.push(lines[i]);
      blocks.push({ kind: "p", text: paragraph.join("\n") });
    }
  }
  return blocks;
}

function itemOf(line) {
  const match = /^\s{0,3}(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/.exec(line);
  return match && { ordered: match[1] !== undefined, number: Number(match[1] ?? 1), text: match[2] };
}

function startsBlock(line) {
  return /^(#{1,6}\s| {0,3}(```|~~~)|\s*>)/.test(line) || itemOf(line) !== null;
}

// -> [{kind: "text"|"code"|"strong"|"em"|"link", text, children?, url?}]
export function parseInline(text, depth = 0) {
  const pattern = /(`+)([^`]|[^`][^]*?[^`])\1(?!`)|\*\*(?=\S)([^]+?\S)\*\*|\*(?=[^\s*])([^*]*[^\s*])\*|\[([^\]\n]{1,300})\]\((https?:\/\/[^\s()]{1,2000})\)/g;
  const spans = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > from) spans.push({ kind: "text", text: text.slice(from, match.index) });
    from = match.index + match[0].length;
    if (match[2] !== undefined) spans.push({ kind: "code", text: match[2] });
    else if (match[5] !== undefined) spans.push({ kind: "link", text: match[5], url: match[6] });
    else if (depth >= MAX_DEPTH) spans.push({ kind: "text", text: match[0] });
    else {
      const kind = match[3] !== undefined ? "strong" : "em";
      spans.push({ kind, children: parseInline(match[3] ?? match[4], depth + 1) });
    }
  }
  if (from < text.length) spans.push({ kind: "text", text: text.slice(from) });
  return spans;
}

function element(name, ...children) {
  const node = document.createElement(name);
  node.append(...children);
  return node;
}

function inlineNodes(spans) {
  return spans.map((span) => {
    if (span.kind === "text") return document.createTextNode(span.text);
    if (span.kind === "code") return element("code", span.text);
    if (span.kind === "link") {
      const link = element("a", span.text);
      link.href = span.url;
      link.rel = "noopener noreferrer";
      link.target = "_blank";
      link.title = span.url; // where it goes, whatever it says
      return link;
    }
    return element(span.kind, ...inlineNodes(span.children));
  });
}

const inline = (text) => inlineNodes(parseInline(text));

function blockNode(block) {
  if (block.kind === "hr") return element("hr");
  if (block.kind === "h") return element(`h${Math.min(6, block.level + 2)}`, ...inline(block.text));
  if (block.kind === "quote") return element("blockquote", ...inline(block.text));
  if (block.kind === "p") return element("p", ...inline(block.text));
  if (block.kind === "code") {
    const pre = element("pre", element("code", block.text));
    pre.tabIndex = 0; // so that the keyboard can scroll it
    return pre;
  }
  const list = element(block.kind, ...block.items.map((item) => element("li", ...inline(item))));
  if (block.kind === "ol") list.start = block.start;
  return list;
}

export function render(text) {
  const fragment = document.createDocumentFragment();
  fragment.append(...parse(text).map(blockNode));
  return fragment;
}
