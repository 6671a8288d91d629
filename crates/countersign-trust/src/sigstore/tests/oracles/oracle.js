// Verdicts of npm's library on the bundles of a list: [{name, bundle, root, digest, keys}], as {name: null or why not}.
// What it does not ask is asked here: that a subject of the statement has the digest.
const fs = require('fs');
const path = require('path');
const load = (name) => require(require.resolve(name, { paths: [process.argv[3]] }));
const { bundleFromJSON } = load('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = load('@sigstore/verify');
const { TrustedRoot } = load('@sigstore/protobuf-specs');
const crypto = require('crypto');

const roots = {};
const material = (file) => (roots[file] ??= TrustedRoot.fromJSON(JSON.parse(fs.readFileSync(file))));
const selector = (file) => {
  if (!file) return undefined;
  const keys = JSON.parse(fs.readFileSync(file)).keys;
  return (hint) => {
    const key = keys.find((one) => (one.keyid ?? one.keyId) === hint);
    if (!key) throw new Error(`no key ${hint}`);
    const der = Buffer.from(key.key ?? key.publicKey.rawBytes, 'base64');
    return {
      publicKey: crypto.createPublicKey({ key: der, format: 'der', type: 'spki' }),
      validFor: () => true,
    };
  };
};

function judge(one) {
  const [algorithm, digest] = one.digest.split(':');
  const json = JSON.parse(fs.readFileSync(one.bundle, 'utf8'));
  const bundle = bundleFromJSON(json);
  const root = material(one.root);
  const options = {};
  if (root.tlogs.length === 0) options.tlogThreshold = 0;
  if (root.ctlogs.length === 0 || one.keys) options.ctlogThreshold = 0;
  const verifier = new Verifier(toTrustMaterial(root, selector(one.keys)), options);
  verifier.verify(toSignedEntity(bundle));
  if (!json.dsseEnvelope) return;
  const statement = JSON.parse(Buffer.from(json.dsseEnvelope.payload, 'base64'));
  if (!statement.subject.some((subject) => subject.digest[algorithm] === digest)) {
    throw new Error('the statement is about other bytes');
  }
}

const verdicts = {};
for (const one of JSON.parse(fs.readFileSync(process.argv[2]))) {
  try {
    judge(one);
    verdicts[one.name] = null;
  } catch (error) {
    verdicts[one.name] = `${error.code ?? error.name}: ${error.message}`.slice(0, 300);
  }
}
console.log(JSON.stringify(verdicts));
