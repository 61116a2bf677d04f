/* Browsers start no worker from a page that was opened from a disk, and the search runs in one.
 * There its script runs in a frame that cannot be seen; elsewhere nothing is changed. */
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.srcdoc = `<script>
        window.postMessage = parent.postMessage.bind(parent)
        window.importScripts = (...urls) => urls.reduce((before, url) => before.then(() =>
          new Promise((done, failed) => {
            const script = document.createElement("script")
            Object.assign(script, { src: url, onload: done, onerror: failed })
            document.body.appendChild(script)
          })), Promise.resolve())
      </scr` + `ipt><body><script src="${new URL(url, location.href)}"></scr` + `ipt>`
      this.frame.onload = () => {
        const waiting = this.waiting
        this.waiting = null
        for (const data of waiting) this.postMessage(data)
      }
      window.addEventListener("message", event => {
        if (event.source !== this.frame.contentWindow) return
        const answer = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(answer)
        if (this.onmessage) this.onmessage(answer)
      })
      const show = () => document.body.appendChild(this.frame)
      if (document.body) show()
      else document.addEventListener("DOMContentLoaded", show)
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }))
    }
    terminate() { this.frame.remove() }
  }
