// Runs before the first paint: a theme that the reader has chosen is there from the start.
"use strict";
(() => {
  document.documentElement.classList.add("js");
  try {
    const theme = localStorage.getItem("iris-theme");
    if (theme === "light" || theme === "dark") {
      document.documentElement.dataset.theme = theme;
    }
  } catch {
    // Without storage the theme is the system's.
  }
})();
