import { describe, expect, it } from 'vitest'
import { newGuid } from '../../lib/protocol/packet.ts'
import { checkReplyUrl, readReplyTarget, replyReference } from '../../lib/protocol/reply-url.ts'

const id = newGuid()
const tail = `BITS-Sessions/Replies/${encodeURIComponent(id)}/responsefile.bin`

describe('readReplyTarget', () => {
  it('returns the session ID and folder of a reply URL, in any case, escaped or not', () => {
    expect(replyReference(id)).toBe(tail)
    for (const [target, folder] of [
      [`/${tail}`, '/'],
      [`/upload/a%20b/${tail}`, '/upload/a%20b/'],
      [`http://files.example/upload/${tail}`, 'http://files.example/upload/'],
      [`/upload/${tail}?a=b`, '/upload/'],
      [`/upload/BITS-Sessions/Replies/${id}/responsefile.bin`, '/upload/'],
      [`/upload/bits-sessions/replies/${encodeURIComponent(id).toLowerCase()}/RESPONSEFILE.BIN`, '/upload/'],
    ] as const) {
      expect(readReplyTarget(target), target).toEqual({ id, folder })
    }
  })

  it.each([
    ['with a shortened session ID', `/${tail.replace(/%7B./, '%7B')}`],
    ['escaped twice', `/${tail.replace('%7B', '%257B')}`],
    ['with a session ID without braces', `/BITS-Sessions/Replies/${id.slice(1, -1)}/responsefile.bin`],
    ['with an escaped slash', `/${tail.replace('/', '%2F')}`],
    ['with backslashes', `/${tail.replaceAll('/', '\\')}`],
    ['in a query', `/upload/search?for=/${tail}`],
    ['in a URL fragment', `/upload/#/${tail}`],
    ['followed by another segment', `/${tail}/x`],
    ['with a prefix before BITS-Sessions', `/upload/X${tail}`],
    ['without a leading slash', tail],
  ])('returns undefined for a reply path %s', (_, target) => {
    expect(readReplyTarget(target)).toBeUndefined()
  })
})

describe('checkReplyUrl', () => {
  it('returns a valid absolute URL unchanged', () => {
    for (const url of ['http://x', 'HTTPS://X:443/a/../b?{c}', 'http://x/'.padEnd(2200, 'y')]) {
      expect(checkReplyUrl(url)).toBe(url)
    }
  })

  it.each([
    ['is relative', '/ready'],
    ['has another scheme', 'ftp://x/'],
    ['has no host', 'http://:80/'],
    ['has a line feed', 'http://x/\r\nX: y'],
    ['has a space', 'http://x/a b'],
    ['is not ASCII', 'http://x/ü'],
    ['has 2,201 characters', 'http://x/'.padEnd(2201, 'y')],
    ['is undefined', undefined],
  ])('rejects a URL that %s', (_, url) => {
    expect(() => checkReplyUrl(url)).toThrow(expect.objectContaining({ code: 'invalid-reply' }))
  })
})
