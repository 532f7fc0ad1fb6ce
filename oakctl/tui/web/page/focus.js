// Keys go to the app from the first moment on, without a click into it.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const keyboard = () => document.querySelector(".xterm-helper-textarea");
  new MutationObserver(() => keyboard()?.focus()).observe(document.body, {
    attributes: true,
    attributeFilter: ["class"],
  });
});
