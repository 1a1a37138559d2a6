/** Compares the tables of lib/protocol/README.md with the server. */
import { describe, expect, it } from 'vitest'
import { BitsError, type BitsErrorCode } from '../../lib/index.ts'
import { isFault } from '../../lib/protocol/errors.ts'
import { packetType } from '../../lib/protocol/packet.ts'
import { code, namesInError, readPage, rows } from './page.ts'

const { section } = readPage('lib/protocol/README.md')
const errorCodes = namesInError(() => new BitsError('' as BitsErrorCode)) as BitsErrorCode[]

describe('lib/protocol/README.md', () => {
  it('lists the five packets', () => {
    const listed = rows(section('The five packets')).map(([name]) => name)
    expect(listed).toHaveLength(5)
    for (const name of listed) expect(packetType({ 'bits-packet-type': name })).toBe(name)
  })

  it('lists every error code with its status and HRESULT, and what to do', () => {
    const listed = rows(section('Errors'))
    const expected = errorCodes.map((name) => {
      const { status, hresult } = new BitsError(name)
      const hex = hresult === undefined ? '' : `0x${hresult.toString(16).toUpperCase().padStart(8, '0')}`
      return [name, String(status), hex]
    })
    expect(listed.map(([name, , status, hresult]) => [code(name), status, hresult])).toEqual(expected)
    for (const [name, condition, , , client, remedy] of listed) {
      expect([condition, client, remedy], name).not.toContain('')
    }
  })

  it('says for which codes the event is `failed`', () => {
    const [, names = ''] = /The event is `failed` for (.*?), because/s.exec(section('Errors')) ?? []
    const faults = errorCodes.filter((name) => isFault(new BitsError(name)))
    expect([...names.matchAll(/`([\w-]+)`/g)].map(([, name]) => name)).toEqual(faults)
  })
})
