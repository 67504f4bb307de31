// Opens Gradio's description of the API, whose own button in its footer is not shown.
element.addEventListener("click", (event) => {
  const button = document.querySelector("button.show-api");
  if (!button || !event.target.closest(".api")) return;
  event.preventDefault();
  button.click();
});
