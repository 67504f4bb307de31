() => {
  // What a screen reader says, and on a narrow screen a jump to what was just read.
  const message = document.getElementById("message");
  const spoken = document.getElementById("spoken");
  if (!message || !spoken) return;
  spoken.textContent = message.innerText;
  const result = document.getElementById("result");
  if (result.getBoundingClientRect().top > window.innerHeight * 0.6) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    result.scrollIntoView({ behavior: calm ? "auto" : "smooth" });
  }
}
