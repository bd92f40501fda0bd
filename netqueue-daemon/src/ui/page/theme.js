// Sets the chosen theme before anything is drawn.
"use strict";
(() => {
  const chosen = () => {
    try {
      return localStorage.getItem("netqueue-theme");
    } catch {
      return null;
    }
  };
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  apply(chosen());
  window.netqueueTheme = {
    /** `light`, `dark`, or `auto`: what the system says. */
    get: () => chosen() ?? "auto",
    set(theme) {
      try {
        if (theme === "auto") localStorage.removeItem("netqueue-theme");
        else localStorage.setItem("netqueue-theme", theme);
      } catch {
        // Private windows forget; the page still changes.
      }
      apply(theme);
    },
  };
})();
