// The page works without this script. It follows Airflow's theme, lets links leave Airflow's frame, answers approvals
// through Airflow's API, and says when a refresh fails.
"use strict";

(() => {
  const root = document.documentElement;

  function followTheme() {
    let theme = null;
    try {
      theme = localStorage.getItem("theme"); // where Airflow's own pages keep it
    } catch {
      // no storage: the system's theme
    }
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  }
  followTheme();
  addEventListener("storage", followTheme);

  // Airflow shows the page in a frame that may not navigate its parent. A link to Airflow is clicked in the parent.
  addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest('a[target="_top"]');
    if (!link || parent === window || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    try {
      const outside = parent.document.createElement("a");
      outside.href = link.href;
      parent.document.body.append(outside);
      outside.click();
      outside.remove();
      event.preventDefault();
    } catch {
      // another origin: the link stays as it is
    }
  });

  function tell(text) {
    const problem = document.getElementById("problem");
    problem.textContent = text;
    problem.hidden = !text;
  }
  addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.id === "today") event.preventDefault(); // no refresh of a hidden page
  });
  addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    if (event.detail.requestConfig.verb === "post") {
      tell(status === 401 ? "Your session has ended: sign in to Airflow, then press the button again."
        : status === 403 ? "Airflow does not let you do this."
        : status === 404 ? "This is not there any more. Load this page again."
        : `Nothing was changed (${status}). Try again later, or use bin/amop.`);
      return;
    }
    tell(status === 401 ? "Your session has ended: sign in to Airflow, then load this page again."
      : `This view could not be refreshed (${status}). What you see may be old.`);
  });
  addEventListener("htmx:sendError", () => tell("Airflow cannot be reached. What you see may be old."));
  addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.successful !== false && event.detail.xhr.status < 400) tell("");
  });

  const ANSWERS = {
    401: "Your session has ended: sign in to Airflow, then answer again.",
    403: "Airflow does not let you answer this request.",
    404: "There is no such request any more.",
    409: "The request was answered already.",
  };

  async function answer(event) {
    event.preventDefault();
    const form = event.target;
    const option = event.submitter && event.submitter.value;
    if (!option) return;
    const said = form.querySelector("[data-answer]");
    const buttons = form.querySelectorAll("button");
    buttons.forEach((button) => { button.disabled = true; });
    said.textContent = "Sending your answer …";
    try {
      const response = await fetch(form.dataset.approval, {
        method: "PATCH",
        credentials: "same-origin",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ chosen_options: [option], params_input: { comment: form.elements.comment.value } }),
      });
      if (response.ok) {
        said.textContent = option === "Approve" ? "Approved. Airflow continues the run." : "Rejected. Nothing is sent.";
        return;
      }
      said.textContent = ANSWERS[response.status] || `Airflow did not take the answer (${response.status}).`;
    } catch {
      said.textContent = "Airflow cannot be reached: the answer was not sent.";
    }
    buttons.forEach((button) => { button.disabled = false; });
  }

  function enableApproval() {
    for (const form of document.querySelectorAll("form[data-approval]")) {
      form.hidden = false;
      form.addEventListener("submit", answer);
    }
  }
  const REFUSALS = {
    401: "Your session has ended: sign in to Airflow, then press the button again.",
    403: "Airflow does not let you start this DAG.",
    404: "Airflow has no such DAG yet.",
    422: "Airflow refuses this form.",
  };

  // The page knows the rules of the run: what is wrong is said beside its field, and nothing is started.
  async function faultsOf(form) {
    const response = await fetch(form.dataset.check, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "HX-Request": "true" },
      body: JSON.stringify({
        service_provider_id: Number(form.dataset.provider),
        rate_plans: form.elements.rate_plans.value,
        ladder_size: form.elements.ladder_size.value,
      }),
    });
    if (!response.ok) throw response;
    return (await response.json()).faults;
  }

  function show(form, faults) {
    for (const place of form.querySelectorAll("[data-fault]")) {
      const text = faults[place.dataset.fault] || "";
      place.textContent = text;
      place.hidden = !text;
      const field = form.elements[place.dataset.fault];
      if (!field) continue;
      if (text) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
    const first = form.querySelector("[aria-invalid]");
    if (first) first.focus();
  }

  async function trigger(event) {
    event.preventDefault();
    const form = event.target;
    const said = form.querySelector("[data-answer]");
    const button = form.querySelector("button");
    const size = form.elements.ladder_size.value.trim();
    const wanted = {
      service_provider_id: Number(form.dataset.provider),
      rate_plans: form.elements.rate_plans.value,
      ladder_size: size ? Number(size) : null,
    };
    button.disabled = true;
    said.textContent = "Starting …";
    try {
      const faults = await faultsOf(form);
      show(form, faults);
      if (Object.keys(faults).length) {
        said.textContent = "Nothing was started: correct what is marked.";
        button.disabled = false;
        return;
      }
      const response = await fetch(form.dataset.trigger, {
        method: "POST",
        credentials: "same-origin",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ logical_date: null, conf: wanted }),
      });
      if (response.ok) {
        const run = (await response.json()).dag_run_id;
        const link = document.createElement("a");
        link.href = form.dataset.run + encodeURIComponent(run);
        link.target = "_top";
        link.textContent = "See the run in Airflow";
        said.replaceChildren("Started. Load this page again for the result. ", link);
      } else {
        said.textContent = REFUSALS[response.status] || `Airflow did not start it (${response.status}).`;
      }
    } catch (problem) {
      said.textContent = problem instanceof Response
        ? REFUSALS[problem.status] || `The form could not be checked (${problem.status}).`
        : "Airflow cannot be reached: nothing was started.";
    }
    button.disabled = false;
  }

  function enableTrigger() {
    for (const form of document.querySelectorAll("form[data-trigger]")) {
      form.hidden = false;
      form.addEventListener("submit", trigger);
      form.elements.file.addEventListener("change", async (event) => {
        const [file] = event.target.files;
        if (file) form.elements.rate_plans.value = await file.text();
      });
    }
  }
  addEventListener("DOMContentLoaded", enableTrigger);

  function enableButtons() {
    for (const button of document.querySelectorAll("button.act")) button.hidden = false;
  }
  addEventListener("DOMContentLoaded", enableApproval);
  addEventListener("DOMContentLoaded", enableButtons);
  addEventListener("htmx:afterSettle", enableButtons);
})();
