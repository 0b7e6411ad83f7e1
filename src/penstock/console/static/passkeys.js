/* Passkeys: the browser's half of WebAuthn. A form with data-passkey asks for one before it is sent, and carries the answer. */
"use strict";
const bytesOf = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const textOf = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const named = (list) => list?.map((one) => ({ ...one, id: bytesOf(one.id) }));
const inBytes = (options) => ({
  ...options, challenge: bytesOf(options.challenge), user: options.user && { ...options.user, id: bytesOf(options.user.id) },
  allowCredentials: named(options.allowCredentials), excludeCredentials: named(options.excludeCredentials),
});
function answered({ id, rawId, type, response }) {
  const said = { transports: response.getTransports?.() ?? [] };
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) if (response[name]) said[name] = textOf(response[name]);
  return JSON.stringify({ id, rawId: textOf(rawId), type, response: said });
}
const why = {
  InvalidStateError: "This device has a passkey of yours for this console already.",
  SecurityError: "The browser allows no passkeys at this address.",
  NotSupportedError: "This device makes no passkeys of the kinds that are taken here.",
};
const none = {
  get: "No passkey was shown: it was cancelled, took too long, or this device has none for this console.",
  create: "No passkey was made: it was cancelled, or took too long.",
};
function refuse(form, text) {
  const line = $("[data-passkey-error]", form);
  line.hidden = false;
  $("span", line).textContent = text;
}
async function ask(form) {
  if (!window.PublicKeyCredential) return refuse(form, isSecureContext ? "This browser has no passkeys." : "Browsers show passkeys over https only, or at localhost.");
  const button = $("button", form);
  button.disabled = true;
  try {
    const publicKey = inBytes(JSON.parse(form.dataset.options));
    form.elements.passkey.value = answered(await navigator.credentials[form.dataset.passkey]({ publicKey }));
  } catch (error) {
    return refuse(form, why[error.name] ?? none[form.dataset.passkey]);
  } finally { button.disabled = false; }
  form.requestSubmit(button);
}
for (const form of $$("form[data-passkey]")) {
  form.addEventListener("submit", (event) => {
    if (form.elements.passkey.value) return;
    event.preventDefault();
    event.stopPropagation();
    ask(form);
  });
  if ("passkeyNow" in form.dataset) ask(form);
}
/* What was answered is good once: who comes back to the page is asked again. */
addEventListener("pageshow", (event) => { if (event.persisted) $$("form[data-passkey]").forEach((form) => { form.elements.passkey.value = ""; }); });
