/** Compares the tables of lib/client/README.md with the client. */
import { describe, expect, it } from 'vitest'
import { uploadErrorCodes } from '../../lib/client/errors.ts'
import { readCancelOptions, readUploadOptions } from '../../lib/client/options.ts'
import { code, namesInError, readPage, rows, unknownOption } from './page.ts'

const { section } = readPage('lib/client/README.md')

/** The rows of the first table of a section. */
const firstTable = (heading: string): string[][] => {
  const [table = ''] = /^\|.*(?:\n\|.*)*/m.exec(section(heading)) ?? []
  return rows(table)
}

describe('lib/client/README.md', () => {
  it('lists every option of uploadFile() with its default, and no others', () => {
    const listed = firstTable('Options').map(([name, , standard]) => [code(name), standard])
    expect(listed.map(([name]) => name)).toEqual(namesInError(() => readUploadOptions(unknownOption)))
    const values = new Map<string | undefined, unknown>([
      ['none', undefined],
      ['memory', undefined],
      ["Node's", {}],
      ['1 second', 1000],
      ['1 minute', 60_000],
      ['2 minutes', 120_000],
      ['5 minutes', 300_000],
      ['14 days; to cancel: 1 day', 14 * 24 * 3_600_000],
      ["`'1mb'` in memory, else `'10gb'`", 1024 ** 2],
      ["`'13mb'`", 13 * 1024 ** 2],
    ])
    for (const [name, standard] of listed) expect([...values.keys()], name).toContain(standard)
    const defaults = Object.fromEntries(listed.map(([name, standard]) => [name, values.get(standard)]))
    expect({ ...readUploadOptions({}), headers: undefined }).toEqual(defaults)
    expect(readUploadOptions({ reply: './reply' }).maxReplySize).toBe(10 * 1024 ** 3)
  })

  it('says which of them cancelUpload() has, and its default of noProgressTimeout', () => {
    expect(section('Options').replace(/\s+/g, ' ')).toMatch(
      /from `auth` to `signal` are also those of `cancelUpload/,
    )
    const names = firstTable('Options').map(([name]) => code(name))
    expect(names.slice(0, names.indexOf('signal') + 1)).toEqual(
      namesInError(() => readCancelOptions(unknownOption)),
    )
    expect(readCancelOptions({}).noProgressTimeout).toBe(24 * 3_600_000)
  })

  it('lists every error code, and no others, with what to do', () => {
    const listed = firstTable('Errors')
    expect(listed.map(([name]) => code(name))).toEqual(uploadErrorCodes)
    for (const [name, when, remedy] of listed) expect([when, remedy], name).not.toContain('')
  })
})
