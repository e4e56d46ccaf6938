// SPDX-License-Identifier: Apache-2.0
// check.mjs FILE…: each FILE is a JSON array of Kubernetes objects. Their values are held against the
// schemas of the API, and their fields against its types, which name every field that there is.
import {readFileSync, writeFileSync, mkdtempSync, rmSync} from "node:fs";
import {execFileSync} from "node:child_process";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const packages = {
  "cert-manager.io": "@kubernetes-models/cert-manager",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
};

function moduleOf({apiVersion, kind}) {
  const group = apiVersion.split("/")[0];
  return `${packages[group] ?? "kubernetes-models"}/${apiVersion}/${kind}`;
}

let failed = 0;
const folder = mkdtempSync(join(here, "check-"));
try {
  for (const [number, file] of process.argv.slice(2).entries()) {
    const objects = JSON.parse(readFileSync(file, "utf8"));
    const lines = [];
    for (const [i, object] of objects.entries()) {
      const {kind} = object;
      const module = moduleOf(object);
      try {
        new (await import(module))[kind](object).validate();
      } catch (e) {
        console.error(`${file}: ${kind} ${object.metadata.name}: ${e.message}`);
        failed = 1;
      }
      lines.push(`import {I${kind} as T${i}} from "${module}";`, `export const o${i}: T${i} = ${JSON.stringify(object, null, 1)};`);
    }
    writeFileSync(join(folder, `objects${number}.ts`), lines.join("\n"));
    console.log(`${file}: ${objects.length} objects`);
  }
  const sources = process.argv.slice(2).map((_, number) => join(folder, `objects${number}.ts`));
  execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "--noEmit", "--strict", "--skipLibCheck",
    "--module", "nodenext", "--target", "es2022", ...sources], {stdio: "inherit"});
} catch (e) {
  failed = 1;
} finally {
  rmSync(folder, {recursive: true});
}
process.exit(failed);
