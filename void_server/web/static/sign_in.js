// Signing in, with a token that the user's key made.

const why = document.getElementById("why"), token = document.getElementById("token");

document.getElementById("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  why.hidden = true;
  try {
    const answer = await fetch("/sign-in", { method: "POST", body: JSON.stringify({ token: token.value.trim() }) });
    if (answer.ok) {
      location.replace("/");
      return;
    }
    why.textContent = (await answer.json()).error;
  } catch {
    why.textContent = "The page's server does not answer; is VOID still running?";
  }
  token.value = "";
  why.hidden = false;
});
