// Passkeys and copy buttons; nothing else on these pages needs a script.
'use strict';
(() => {
  const bytes = (text) => {
    const plain = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
    return Uint8Array.from(plain, (c) => c.charCodeAt(0)).buffer;
  };
  const text = (buffer) =>
    btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(''))
      .replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

  // What the server sent, as the browser wants it: buffers instead of base64url.
  const opened = (options) => {
    const named = (list) => (list || []).map((item) => ({ ...item, id: bytes(item.id) }));
    const out = { ...options, challenge: bytes(options.challenge) };
    if (options.user) out.user = { ...options.user, id: bytes(options.user.id) };
    if (options.excludeCredentials) out.excludeCredentials = named(options.excludeCredentials);
    if (options.allowCredentials) out.allowCredentials = named(options.allowCredentials);
    return out;
  };
  const sealed = (credential) => {
    const answer = credential.response;
    const response = { clientDataJSON: text(answer.clientDataJSON) };
    if (answer.attestationObject) {
      response.attestationObject = text(answer.attestationObject);
      if (answer.getTransports) response.transports = answer.getTransports();
    } else {
      response.authenticatorData = text(answer.authenticatorData);
      response.signature = text(answer.signature);
      response.userHandle = answer.userHandle ? text(answer.userHandle) : null;
    }
    return JSON.stringify({
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      response,
      extensions: credential.getClientExtensionResults ? credential.getClientExtensionResults() : {},
    });
  };

  const say = (form, words) => {
    const place = form.querySelector('[role=status]');
    if (place) place.textContent = words;
  };
  const ask = async (form) => {
    const fields = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.dataset.options, {
      method: 'POST',
      credentials: 'same-origin',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'application/json' },
      body: fields,
    });
    const found = await answer.json();
    if (!answer.ok && found.code === 'step-up-needed') {
      // Proved again, the person comes back here with what was typed.
      const typed = new URLSearchParams();
      for (const field of form.querySelectorAll('input:not([type=hidden]), select')) typed.append(field.name, field.value);
      location.assign('/account/confirm?return=' + encodeURIComponent(location.pathname + '?' + typed));
    }
    if (!answer.ok) throw new Error([found.detail, found.remedy].filter(Boolean).join(' ') || form.dataset.failed);
    return found;
  };
  const finish = (form, ceremony, credential) => {
    form.elements.ceremony.value = ceremony;
    form.elements.credential.value = sealed(credential);
    form.submit();
  };

  let waiting = null;
  const perform = async (form) => {
    if (waiting) waiting.abort();
    const button = form.querySelector('button[type=submit]');
    button.disabled = true;
    say(form, form.dataset.waiting || '');
    try {
      const found = await ask(form);
      const publicKey = opened(found.publicKey);
      const credential = form.dataset.passkey === 'create'
        ? await navigator.credentials.create({ publicKey })
        : await navigator.credentials.get({ publicKey });
      finish(form, found.ceremony, credential);
    } catch (error) {
      button.disabled = false;
      say(form, error.name === 'Error' || error.name === 'TypeError' ? error.message : form.dataset.failed);
    }
  };

  // The list of passkeys that opens at the field for the user name.
  const offer = async (form) => {
    const can = window.PublicKeyCredential && PublicKeyCredential.isConditionalMediationAvailable;
    if (!can || !(await PublicKeyCredential.isConditionalMediationAvailable())) return;
    waiting = new AbortController();
    try {
      const found = await ask(form);
      const credential = await navigator.credentials.get({
        publicKey: opened(found.publicKey), mediation: 'conditional', signal: waiting.signal,
      });
      if (credential) finish(form, found.ceremony, credential);
    } catch (error) {
      // Nobody chose a passkey from the list; the button and the other ways are there still.
    }
  };

  for (const form of document.querySelectorAll('form[data-passkey]')) {
    if (!window.PublicKeyCredential) {
      say(form, form.dataset.missing || '');
      form.querySelector('button[type=submit]').disabled = true;
      continue;
    }
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      perform(form);
    });
    if (form.dataset.offer !== undefined) offer(form);
  }

  for (const button of document.querySelectorAll('button[data-copy]')) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener('click', async () => {
      const source = document.getElementById(button.dataset.copy);
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = button.dataset.done;
    });
  }
})();
