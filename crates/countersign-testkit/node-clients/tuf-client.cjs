// tuf-js as a client, as tuf_client.py is python-tuf: a JSON object per line comes in, one goes out. The argument is the folder in
// which it is installed.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const readline = require('readline');

const { Updater } = require(path.join(process.argv[2], 'tuf-js'));

async function answer(asked) {
  const downloads = path.join(asked.state, 'downloads');
  fs.mkdirSync(downloads, { recursive: true });
  const kept = path.join(asked.state, 'root.json');
  if (asked.root !== undefined && !fs.existsSync(kept)) fs.writeFileSync(kept, asked.root);
  const updater = new Updater({
    metadataDir: asked.state,
    metadataBaseUrl: asked.metadata,
    targetDir: downloads,
    targetBaseUrl: asked.targets,
    config: { fetchRetry: 0, fetchTimeout: 30000, prefixTargetsWithHash: asked.prefixed ?? true },
  });
  if (asked.at !== undefined) updater.trustedSet.referenceTime = new Date(asked.at * 1000);
  await updater.refresh();
  const versions = {};
  for (const role of ['root', 'timestamp', 'snapshot', 'targets']) {
    versions[role] = updater.trustedSet[role].signed.version;
  }
  if (asked.path === undefined) return { versions };
  const info = await updater.getTargetInfo(asked.path);
  if (info === undefined) return { versions, absent: true };
  const got = fs.readFileSync(await updater.downloadTarget(info));
  return { versions, sha256: crypto.createHash('sha256').update(got).digest('hex') };
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let told;
    try {
      told = await answer(JSON.parse(line));
    } catch (error) {
      told = { refused: error.constructor.name, why: String(error.message) };
    }
    console.log(JSON.stringify(told));
  }
})();
