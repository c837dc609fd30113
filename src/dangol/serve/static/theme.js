// Runs before the first paint, so that a remembered theme never flashes.
(() => {
  try {
    const theme = localStorage.getItem("dangol.theme");
    if (theme) document.documentElement.dataset.theme = theme;
  } catch {
    // storage can be switched off; the system's theme holds then
  }
})();
