// Copies the lines alone: without their numbers, and without the marks of doubt.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page that came over plain http from another machine has no clipboard
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

element.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  const lines = [...element.querySelectorAll(".line")].map((line) => line.textContent);
  if (!lines.length) return;
  await copy(lines.join("\n"));
  button.textContent = "Copied";
  document.getElementById("spoken").textContent = "The text is copied.";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
