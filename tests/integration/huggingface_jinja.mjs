// Lines of JSON {"template", "variables"} in, lines {"text"} or {"error"} out, rendered by the npm package @huggingface/jinja.
// Run in the folder whose node_modules has it.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(process.cwd() + "/"));
const { Template } = require("@huggingface/jinja");
const parsed = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const { template, variables } = JSON.parse(line);
  let answer;
  try {
    if (!parsed.has(template)) parsed.set(template, new Template(template));
    answer = { text: parsed.get(template).render(variables) };
  } catch (error) {
    answer = { error: String(error.message) };
  }
  console.log(JSON.stringify(answer));
}
