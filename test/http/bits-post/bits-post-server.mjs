// A server that accepts BITS_POST, in a process of its own.
import { createServer } from 'node:http'
import { acceptBitsPostEverywhere } from '../../../lib/http/bits-post/accept.ts'

acceptBitsPostEverywhere()
const server = createServer((request, response) => response.end(request.method))
server.listen(0, '127.0.0.1', () => console.log('listening:', server.address()))
