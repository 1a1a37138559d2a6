// A plugin of TypeDoc that names each page after its first heading, because most of their files are called README.md.
import { Converter } from 'typedoc'

export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, page) => {
    const text = page.content.map((part) => part.text).join('')
    const [, heading] = /^# (.+)$/m.exec(text) ?? []
    if (heading) page.name = heading.replaceAll('`', '')
    else app.logger.error(`A page has no heading: ${text.slice(0, 80)}`)
  })
}
